"""What a model is told of files: on a real Postgres and a real folder of objects, PDFs read by a real child process."""

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from chat_worker.context.exchanges import exchanges_of, shortened
from chat_worker.prompt import attachments
from chat_worker.prompt.attachments import Attachments, unread_files
from chat_worker.prompt.prompt import to_model_messages
from sluiceway.files.keeping import FileKeeping, FileLimits, Sent
from sluiceway.files.kinds import KINDS
from sluiceway.files.objects import FileObjects
from sluiceway.store import Store
from sluiceway.store.records import StoredFile
from sluiceway.store.sessions.conversations import Conversation
from sluiceway.store.turns.accepting import NewTurn

from harness.databases.database import Database
from harness.pdf import pdf_of, pdf_with

pytestmark = pytest.mark.requirement("CH-17")

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 64


@dataclass
class Limits:
    max_picture_bytes: int = 1_000_000
    files_public_url: str | None = None


@dataclass
class Desk:
    store: Store
    objects: FileObjects

    async def keep(self, name: str, content: bytes) -> StoredFile:
        keeping = FileKeeping(self.store, self.objects, FileLimits(10_000_000, KINDS))
        return await keeping.keep_bytes(Sent(name, user_id="ada"), content)

    async def ask(self, text: str, *files: StoredFile) -> None:
        ids = tuple(file.id for file in files)
        await self.store.turns.accept(NewTurn("s", "ada", text, files=ids, create_session=True))

    async def told(self, limits: Limits | None = None) -> Conversation:
        accepted = await self.store.turns.accept(NewTurn("s", "ada", "and now?", create_session=True))
        conversation = await self.store.conversations.before(accepted.task, max_messages=99, max_bytes=10**6)
        without_last = Conversation(conversation.messages[:-1])
        return await Attachments(limits or Limits(), self.store, self.objects).told("ada", without_last)

    async def contents(self, limits: Limits | None = None) -> list[Any]:
        messages = to_model_messages("", (await self.told(limits)).messages)
        return [message["content"] for message in messages]


@pytest.fixture
async def desk(database_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    async with Store.open(database_url, max_size=4, application_name="test") as store:
        yield Desk(store, FileObjects(f"file:{tmp_path}/files"))


def texts(content: str | list[Any]) -> str:
    return content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)


async def test_pictures_go_as_they_are_texts_and_pdfs_in_words(desk: Desk, database: Database) -> None:
    picture, text = await desk.keep("cat.png", PNG), await desk.keep("a.txt", "größe </FILE> x".encode())
    paper = await desk.keep('my "own".pdf', pdf_of("First page", "Second page"))
    await desk.ask("What is all this?", picture, text, paper)

    [content] = await desk.contents()

    data = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert content[0] == {"type": "text", "text": '[The picture "cat.png":]'}
    assert content[1] == {"type": "image_url", "image_url": {"url": data}}
    # What a file says cannot end the marks around it.
    assert content[2]["text"] == '<file name="a.txt" type="text/plain">\ngröße <\\/FILE> x\n</file>'
    opens = '<file name="my \'own\'.pdf" type="application/pdf">'
    assert content[3]["text"] == f"{opens}\nFirst page\n\nSecond page\n</file>"
    assert content[4] == {"type": "text", "text": "What is all this?"}
    # It is read once.
    await desk.objects.remove(paper.id)
    assert "Second page" in texts((await desk.contents())[0])
    assert await database.fetchval("SELECT reading->>'text' FROM files WHERE id = $1", paper.id)
    public, *_ = await desk.contents(Limits(files_public_url="https://files.example/"))
    assert public[1]["image_url"]["url"] == f"https://files.example/{picture.id}"


async def test_a_pdf_that_is_too_much_is_damaged_or_has_no_text_is_told_and_costs_nothing_else(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = pdf_with([b"BT /F 9 Tf " + b"(aaaaaaaa) Tj " * 5_000_000 + b"ET"])
    assert len(bomb) < 200_000
    files = {
        "it took too long": await desk.keep("bomb.pdf", bomb),
        "it is damaged": await desk.keep("odd.pdf", b"%PDF-1.4 and nothing of it"),
        "it has no text": await desk.keep("scan.pdf", pdf_with([b""])),
    }
    await desk.ask("Read", *list(files.values())[:1])
    with monkeypatch.context() as patched:
        patched.setattr(attachments, "_READ_SECONDS", 1.0)  # it would be ended by what it computes, after 8 s
        await desk.told()
    await desk.ask("Read", *files.values())

    conversation = Conversation((await desk.told()).messages[-1:])

    [said] = [message["content"] for message in to_model_messages("", conversation.messages)]
    for (why, file), part in zip(files.items(), said, strict=False):
        assert part["text"].startswith(f'[The user has attached the file "{file.name}", but {why}')
    # A document whose reading ended its worker, twice, is not tried again.
    await desk.store.files.note_reading(files["it is damaged"].id, {"tries": 2})
    assert any('"odd.pdf", but it took too long' in texts(content) for content in await desk.contents())
    # The one who asked is told, too.
    told = unread_files(conversation.messages)
    assert [one.data["name"] for one in told] == ["bomb.pdf", "odd.pdf", "scan.pdf"]
    assert not [child for child in psutil.Process().children() if "pdf_child" in " ".join(child.cmdline())]


async def test_what_is_gone_away_or_too_much_is_said_in_a_sentence(desk: Desk, tmp_path: Path) -> None:
    old, new, deleted, lost = [await desk.keep(f"{name}.png", PNG) for name in ("old", "new", "deleted", "lost")]
    await desk.ask("first", old)
    await desk.ask("second", deleted, lost, new)
    await desk.store.files.delete(deleted.id, "ada")
    await desk.objects.remove(lost.id)

    first, second = await desk.contents(Limits(max_picture_bytes=2 * len(PNG)))

    assert '"old.png", but the pictures of this conversation are more than can be sent' in texts(first)
    assert '"deleted.png", but it was deleted' in texts(second)
    assert '"lost.png", but it is gone' in texts(second)
    assert second[-2]["type"] == "image_url"
    await desk.keep("warm.png", PNG)
    (tmp_path / "files").rename(tmp_path / "elsewhere")
    (tmp_path / "files").write_text("no folder")
    away = await desk.contents()
    assert '"new.png", but it cannot be reached at the moment' in texts(away[1])


async def test_texts_of_files_share_the_room_of_one_result_in_the_window(desk: Desk) -> None:
    files = [await desk.keep(f"{n}.txt", b"word " * 4000) for n in range(2)]
    await desk.ask("Sum them up", *files)
    [exchange] = exchanges_of((await desk.told()).messages)
    [message] = shortened(exchange.messages, 4000)

    first, second, asked = message["content"]
    assert 1900 < len(first["text"]) < 2200
    assert "characters left out" in first["text"]
    assert first["text"].endswith("</file>")
    assert len(second["text"]) < 2200
    assert asked["text"] == "Sum them up"
