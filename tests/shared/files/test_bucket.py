"""Files in a bucket: whole or not at all, and what is wrong with it is said in words."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from sluiceway.errors import FilesUnavailable
from sluiceway.files.objects import FileObjects
from sluiceway.files.watching import FilesWatch
from sluiceway.files.writing import FileWriting

from harness.bucket import KEY, Bucket, open_bucket
from harness.waiting import wait_until

pytestmark = pytest.mark.requirement("CH-17")

PIECE = bytes(range(256)) * 1024
SMALL, LARGE = [PIECE], [PIECE] * (FileObjects("s3://bucket").most_held_bytes // len(PIECE) + 3)


@pytest.fixture
async def bucket(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bucket]:
    async with open_bucket() as opened:
        for name, value in opened.environment.items():
            monkeypatch.setenv(name, value)
        yield opened


@pytest.fixture
def objects(bucket: Bucket) -> FileObjects:
    return FileObjects("s3://bucket/files")


async def _write_all(writing: FileWriting, pieces: Sequence[bytes]) -> None:
    for piece in pieces:
        await writing.write(piece)


async def test_what_is_written_is_there_whole_is_listed_and_goes(bucket: Bucket, objects: FileObjects) -> None:
    for name, pieces in (("small", SMALL), ("large", LARGE), ("empty", [])):
        writing = objects.write(name)
        await _write_all(writing, pieces)
        assert f"files/{name}" not in bucket.objects
        await writing.close()
        assert bucket.objects[f"files/{name}"] == b"".join(pieces)
        assert await objects.read(name) == b"".join(pieces)
    bucket.asked_for.clear()
    sent = await objects.pieces("large", len(b"".join(LARGE)))
    assert sent is not None
    assert b"".join([piece async for piece in sent]) == b"".join(LARGE)
    assert max(bucket.asked_for) <= 1024 * 1024, "no request lasts as long as a browser reads"
    assert sorted([name async for page in objects.listed(10) for name in page]) == ["empty", "large", "small"]
    for name in ("small", "large", "empty", "small"):
        await objects.remove(name)
    assert (bucket.objects, bucket.uploads, await objects.read("small")) == ({}, {}, None)
    assert await objects.pieces("small", 1) is None


async def test_an_upload_that_is_given_up_leaves_no_part_of_it(bucket: Bucket, objects: FileObjects) -> None:
    for pieces in (SMALL, LARGE):
        writing = objects.write("given-up")
        await _write_all(writing, pieces)
        await writing.abort()
        assert (bucket.objects, bucket.uploads) == ({}, {})


async def test_a_bucket_that_goes_while_it_is_written_to_or_read_is_told(bucket: Bucket, objects: FileObjects) -> None:
    await objects.put("large", b"".join(LARGE))
    sent = await objects.pieces("large", len(b"".join(LARGE)))
    assert sent is not None
    assert PIECE in await anext(sent)
    bucket.cut_after = len(PIECE)
    with pytest.raises(FilesUnavailable):
        b"".join([piece async for piece in sent])
    writing = objects.write("new")
    bucket.exists = False
    with pytest.raises(FilesUnavailable):
        await _write_all(writing, LARGE * 3)
    await writing.abort()
    for asked in (
        objects.read("large"),
        objects.remove("large"),
        objects.put("x", b"x"),
        objects.pieces("large", len(b"".join(LARGE))),
    ):
        with pytest.raises(FilesUnavailable, match="there is no such bucket"):
            await asked


async def test_what_is_wrong_is_said_in_words(
    bucket: Bucket, objects: FileObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await objects.problem() is None
    bucket.exists = False
    assert await objects.problem() == "there is no such bucket or folder"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    told = await FileObjects("s3://bucket").problem()
    assert told == "the credentials are refused, or lack the right"
    assert KEY not in told
    assert await FileObjects("az://no-account/folder").problem() is not None


async def test_it_is_looked_at_when_a_process_begins(bucket: Bucket, objects: FileObjects) -> None:
    bucket.exists = False
    watch = FilesWatch(objects)
    looking = asyncio.create_task(watch.run())
    await wait_until(lambda: watch.problem == "there is no such bucket or folder", what="it is seen")
    looking.cancel()
    await FilesWatch(FileObjects("")).run()
