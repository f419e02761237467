"""Files: what they truly are, how they are kept so that nothing is left behind, and who they belong to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from sluiceway.errors import (
    AccessDenied,
    FileNotFound,
    FileQuotaReached,
    FilesUnavailable,
    FileTooLarge,
    FileTypeRefused,
)
from sluiceway.files.keeping import FileKeeping, FileLimits, Sent, clean_name
from sluiceway.files.kinds import KINDS, Kind
from sluiceway.files.objects import FileObjects
from sluiceway.store import Store
from sluiceway.store.sessions.files import Allowance
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.wire.file_part import file_id_of, file_url

from harness.databases.database import Database
from harness.processes.ports import free_port

pytestmark = pytest.mark.requirement("CH-17")

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 64
PDF = b"%PDF-1.7\n" + b"x" * 64
LIMITS = FileLimits(max_bytes=8 * 1024 * 1024, kinds=KINDS)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with Store.open(database_url, max_size=4, application_name="test") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def objects(folder: Path) -> FileObjects:
    return FileObjects(f"file:{folder}")


def kept_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


async def rows(database: Database, table: str = "files") -> list[str]:
    return [row["id"] for row in await database.fetch(f"SELECT id FROM {table} ORDER BY id")]


@pytest.mark.parametrize(
    ("content", "name", "declared", "kind"),
    [
        (PNG, "a.png", "image/png", "image/png"),
        (PNG, "a.jpg", "image/jpeg", "image/png"),
        (PNG, "", None, "image/png"),
        (PDF, "a.pdf", "application/octet-stream", "application/pdf"),
        ("größe".encode(), "a.txt", None, "text/plain"),
        (b"# a", "a.md", None, "text/markdown"),
        (b"a,b", "a", "text/csv; charset=utf-8", "text/csv"),
        (b"{}", "a.json", None, "application/json"),
        (b"", "empty.txt", None, "text/plain"),
        (b"<script>alert(1)</script>", "a.html", "text/html", "text/plain"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg", "image/svg+xml", "text/plain"),
        (b"print()", "a.py", "text/x-python", "text/plain"),
    ],
)
def test_the_type_is_what_the_content_says(content: bytes, name: str, declared: str | None, kind: str) -> None:
    found = Kind(content, name, declared, KINDS)
    found.add(content, last=True)
    assert found.media_type == kind


@pytest.mark.parametrize(
    ("content", "name", "declared"),
    [
        (b"<html>", "a.png", None),
        (b"<html>", "a", "image/png"),
        (b"<html>", "a.pdf", "application/octet-stream"),
        (PNG, "a.txt", None),
        (PNG, "a", "text/plain"),
        (PDF, "a.png", "image/png"),
        (b"PK\x03\x04" + b"\x00" * 60, "a.txt", "text/plain"),
        (b"MZ" + b"\x00" * 300, "a.exe", None),
        (b"caf\xe9 au lait", "a.txt", "text/plain"),
        (b"a\x00b", "a.txt", "text/plain"),
        (b"half a letter \xc3", "a.txt", "text/plain"),
    ],
)
def test_a_file_that_lies_about_its_type_or_is_of_none_is_refused(
    content: bytes, name: str, declared: str | None
) -> None:
    with pytest.raises(FileTypeRefused):
        Kind(content, name, declared, KINDS).add(content, last=True)


def test_names_and_addresses_are_made_plain() -> None:
    assert clean_name("../../etc/passwd") == "passwd"
    assert clean_name("C:\\a\\b\u202egnp.txt\x00") == "bgnp.txt"
    assert clean_name("\n . ") == "file"
    long = clean_name("x" * 500 + ".png")
    assert len(long) == 200
    assert long.endswith(".png")
    known = "file_" + "a" * 32
    assert file_id_of(file_url(known)) == file_id_of(f"https://chat.example/api/chat/files/{known}") == known
    for other in (f"/files/{known}", f"{file_url(known)}/x", f"http://a/?x=/api/chat/files/{known}", "", None, known):
        assert file_id_of(other) is None


async def test_a_kept_file_has_its_bytes_its_digest_and_its_owner(store: Store, objects: FileObjects) -> None:
    keeping = FileKeeping(store, objects, LIMITS)
    content = PNG + b"x" * (6 * 1024 * 1024)  # in parts, for the object store

    async def pieces() -> AsyncIterator[bytes]:
        for begin in range(0, len(content), 100_000):
            yield content[begin : begin + 100_000]

    file = await keeping.keep(Sent("a.png", user_id="ada"), pieces())

    assert (file.media_type, file.size, file.name) == ("image/png", len(content), "a.png")
    assert await objects.read(file.id) == content
    sent = await objects.pieces(file.id, file.size)
    assert sent is not None
    assert b"".join([piece async for piece in sent]) == content
    assert await store.files.get(file.id, "ada") == file
    with pytest.raises(AccessDenied):
        await store.files.get(file.id, "bob")
    await store.files.delete(file.id, "ada")
    with pytest.raises(FileNotFound):
        await store.files.get(file.id, "ada")
    assert await store.files.removals(10) == [file.id]


async def test_what_is_refused_or_breaks_off_leaves_nothing(
    store: Store, objects: FileObjects, folder: Path, database: Database
) -> None:
    keeping = FileKeeping(store, objects, LIMITS)

    async def too_large() -> AsyncIterator[bytes]:
        yield PNG
        for _ in range(10):
            yield b"x" * 1024 * 1024

    async def breaks_off() -> AsyncIterator[bytes]:
        yield PNG + b"x" * 6 * 1024 * 1024
        raise ConnectionError

    async def binary_behind_the_head() -> AsyncIterator[bytes]:
        yield b"a" * 5000
        yield b"\xff\xfe"

    async def half_a_letter_at_its_end() -> AsyncIterator[bytes]:
        yield b"a" * 5000
        yield b"\xc3"

    for pieces, error in (
        (half_a_letter_at_its_end(), FileTypeRefused),
        (too_large(), FileTooLarge),
        (breaks_off(), ConnectionError),
        (binary_behind_the_head(), FileTypeRefused),
    ):
        with pytest.raises(error):
            await keeping.keep(Sent("a", user_id="ada"), pieces)
    with pytest.raises(FileTooLarge):
        await keeping.keep(Sent("a", announced_bytes=2**30), breaks_off())
    never = asyncio.create_task(keeping.keep(Sent("a"), _stalls()))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(never, 0.3)

    assert await rows(database) == []
    assert kept_in(folder) == []


async def _stalls() -> AsyncIterator[bytes]:
    yield PNG + b"x" * 6 * 1024 * 1024
    await asyncio.Event().wait()


async def test_an_object_store_that_is_away_is_told_and_keeps_no_row(
    store: Store, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in_the_way").write_text("a file")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    for url in (f"file:{tmp_path}/in_the_way/files", "", "s3://bucket/prefix"):
        with pytest.raises(FilesUnavailable):
            await FileKeeping(store, FileObjects(url), LIMITS).keep_bytes(Sent("a"), PNG)
    assert await rows(database) == []


NO_BUCKET = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


async def test_a_bucket_that_is_not_there_is_no_file_that_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(NO_BUCKET)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        monkeypatch.setenv("AWS_ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        bucket = FileObjects("s3://bucket/prefix")
        with pytest.raises(FilesUnavailable):
            await bucket.put("file_a", PNG)
        assert await bucket.read("file_a") is None


async def test_an_owner_has_room_for_so_many_files_and_bytes(store: Store, objects: FileObjects) -> None:
    few = FileKeeping(store, objects, FileLimits(10_000, KINDS, Allowance(max_files=2)))
    sent = [Sent("a", user_id="ada", announced_bytes=len(PNG), file_id=f"file_{number}") for number in range(8)]
    at_once = await asyncio.gather(*(few.keep_bytes(one, PNG) for one in sent), return_exceptions=True)
    kept = [one for one, outcome in zip(sent, at_once, strict=True) if not isinstance(outcome, FileQuotaReached)]
    assert len(kept) == 2
    with pytest.raises(FileQuotaReached):
        await few.keep_bytes(Sent("a", user_id="ada"), PNG)
    assert (await few.keep_bytes(kept[0], PNG)).id == kept[0].file_id, "the same again is none more"
    await few.keep_bytes(Sent("a", user_id="bob"), PNG)
    small = FileKeeping(store, objects, FileLimits(10_000, KINDS, Allowance(max_bytes=3 * len(PNG))))
    await small.keep_bytes(Sent("a", user_id="ada", announced_bytes=len(PNG)), PNG)
    with pytest.raises(FileQuotaReached):
        await small.keep_bytes(Sent("a", user_id="ada", announced_bytes=len(PNG)), PNG)


async def test_a_file_belongs_to_the_conversation_that_names_it_first_and_goes_with_it(
    store: Store, objects: FileObjects, database: Database
) -> None:
    keeping = FileKeeping(store, objects, LIMITS)
    file = await keeping.keep_bytes(Sent("a.png", user_id="ada"), PNG)

    def turn(session_id: str, user_id: str, **more: str) -> NewTurn:
        return NewTurn(session_id, user_id, "see", files=(file.id,), create_session=True, **more)  # type: ignore[arg-type]

    with pytest.raises(FileNotFound):
        await store.turns.accept(turn("b", "bob"))
    accepted = await store.turns.accept(turn("s", "ada", message_id="m"))
    again = await store.turns.accept(turn("s", "ada", message_id="m"))
    assert (again.created, again.task.id) == (False, accepted.task.id)
    with pytest.raises(FileNotFound):
        await store.turns.accept(turn("other", "ada"))
    assert await rows(database, "sessions") == ["s"]
    parts = await database.fetchval("SELECT parts::text FROM messages WHERE id = 'm'")
    assert file_url(file.id) in parts
    assert list(await store.files.of_owner("ada", [file.id])) == [file.id]
    assert await store.files.of_owner("bob", [file.id]) == {}
    await store.sessions.claim("s", "eve", "ada")
    assert (await store.files.get(file.id, "eve")).id == file.id

    await store.sessions.delete("s", "eve")

    assert await rows(database) == []
    assert await rows(database, "file_removals") == [file.id]


async def test_a_person_s_files_are_exported_and_erased(store: Store, objects: FileObjects, database: Database) -> None:
    keeping = FileKeeping(store, objects, LIMITS)
    named, unnamed = [await keeping.keep_bytes(Sent(f"{n}.png", user_id="ada"), PNG) for n in range(2)]
    await store.turns.accept(NewTurn("s", "ada", "", files=(named.id,), create_session=True))

    exported = [row["id"] async for row in store.people.export("ada") if row["kind"] == "file"]
    assert exported == [named.id, unnamed.id]
    batch = await store.people.erase_some("ada")
    assert batch is not None
    assert batch.counts["files"] == 1
    assert await store.people.erase_some("ada") is None

    assert await rows(database) == []
    assert await rows(database, "file_removals") == sorted([named.id, unnamed.id])


async def test_a_file_of_the_same_id_is_not_removed_while_it_is_wanted_again(
    store: Store, objects: FileObjects, database: Database
) -> None:
    """A message with a data URL is sent again just when what its first try left is removed."""
    keeping, sent = FileKeeping(store, objects, LIMITS), Sent("a.png", user_id="ada", file_id="file_" + "a" * 32)
    first = await keeping.keep_bytes(sent, PNG)
    assert await keeping.keep_bytes(sent, PNG) == first
    await store.files.delete(first.id, "ada")
    async with store.files.removing(first.id) as unwanted:
        assert unwanted
        again = asyncio.create_task(keeping.keep_bytes(sent, PNG))
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(again), 0.2)
        assert not again.done()
        await objects.remove(first.id)
    assert (await again).id == first.id
    assert await objects.read(first.id) == PNG
    assert await store.files.removals(10) == []
    await database.execute("INSERT INTO file_removals (id) VALUES ($1)", first.id)
    async with store.files.removing(first.id) as unwanted:
        assert not unwanted


async def test_uploads_that_nobody_names_go_after_a_while(
    store: Store, objects: FileObjects, database: Database
) -> None:
    keeping = FileKeeping(store, objects, LIMITS)
    old, half, new, named = [await keeping.keep_bytes(Sent(f"{n}.png"), PNG) for n in range(4)]
    await store.turns.accept(NewTurn("s", None, "", files=(named.id,), create_session=True))
    await database.execute(
        "UPDATE files SET created_at = now() - interval '2 days' WHERE id IN ($1, $2)", old.id, named.id
    )
    await database.execute(
        "UPDATE files SET created_at = now() - interval '2 hours', stored_at = NULL WHERE id = $1", half.id
    )
    assert await store.files.drop_unattached(timedelta(days=1), timedelta(hours=1), 10) == 2
    assert await rows(database) == sorted([new.id, named.id])
    assert await store.files.note_strays([old.id, new.id, "file_unknown"]) == ["file_unknown"]
