"""The object store that has the bytes of files: a local folder, S3, GCS or Azure, by FILES_URL.

Guarantees
- An object is there whole or not at all: what breaks off in the middle is never seen, and its parts are dropped. What a
  process that was killed leaves of it in a local folder, `remove_staged` removes; a bucket needs a rule for incomplete
  uploads.
- A bucket that is not there is a store that is away, never a file that is not.
- Nothing here holds up the event loop: the library is called in threads. Its own coroutines are not used, as one that
  is cancelled while the process ends aborts the process (obstore 0.12).
- Of a file that is being written or sent at most a few megabytes are in memory.
Methods raise FilesUnavailable when the store is away.
"""

import asyncio
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import obstore
from obstore import store
from obstore.exceptions import (
    BaseError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnknownConfigurationKeyError,
)

from sluiceway.errors import FilesUnavailable
from sluiceway.files.writing import FileWriting
from sluiceway.process.logs import get_logger

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

_PIECE_BYTES = 1024 * 1024
# Of an object that is written: a bucket takes none that is smaller.
_PART_BYTES, _PART_BYTES_OF_FOLDER = 5 * 1024 * 1024, 512 * 1024
_LOCAL = "file:"
# In what S3 answers, where it is not the object that is missing.
_NO_BUCKET = "NoSuchBucket"
# Where a cloud's machine is asked for its credentials, as none are set.
_ROLE_OF_MACHINE = "169.254.169.254"
# Of a local folder.
_NO_SPACE, _READ_ONLY = re.compile(r"os error (28|122)\b"), re.compile(r"os error 30\b")
_NO_ROOM = "its disk, or its quota, is full"
_LEAST_FREE_BYTES = 64 * 1024 * 1024
_REFUSED = re.compile(r"status code: 40[13]\b")
# By itself the library would try for three minutes, while somebody waits.
_CLIENT: "ClientConfig" = {
    "connect_timeout": timedelta(seconds=5),
    "timeout": timedelta(seconds=30),
    "allow_http": True,  # where an endpoint says so: a store within the cluster
}
_RETRIES: "RetryConfig" = {"max_retries": 2, "retry_timeout": timedelta(seconds=10)}

T = TypeVar("T")


class FileObjects:
    """`url`: `file:FOLDER`, `s3://BUCKET/PREFIX`, `gs://…`, `az://…`; empty: there is none. Keys and endpoints of a
    cloud are read from its usual environment variables."""

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def on(self) -> bool:
        return bool(self._url)

    @property
    def most_held_bytes(self) -> int:
        """Of an object that is being written: a part, and what comes meanwhile."""
        return 2 * self._part_bytes

    def write(self, file_id: str) -> FileWriting:
        """Begin an object. It is there when `close` has returned."""

        def put(content: bytes | Iterator[bytes]) -> object:
            parts = not isinstance(content, bytes)
            with _errors():
                return obstore.put(
                    self._store, file_id, content, use_multipart=parts, chunk_size=self._part_bytes, max_concurrency=1
                )

        return FileWriting(put, self._part_bytes)

    async def put(self, file_id: str, content: bytes) -> None:
        """Write it in one go; again, where it is there already."""
        await _called(lambda: obstore.put(self._store, file_id, content, use_multipart=False))

    async def read(self, file_id: str) -> bytes | None:
        """All of it; None: it is not there."""
        return await _unless_missing(lambda: bytes(obstore.get(self._store, file_id).bytes()))

    async def pieces(self, file_id: str, size: int) -> AsyncIterator[bytes] | None:
        """So many bytes, piece by piece; None: it is not there. Each is a request of its own: who reads slowly outlasts
        no timeout."""
        first = await _unless_missing(partial(self._range, file_id, 0, size))
        return None if first is None else self._from(first, file_id, size)

    async def _from(self, first: bytes, file_id: str, size: int) -> AsyncIterator[bytes]:
        yield first
        for start in range(_PIECE_BYTES, size, _PIECE_BYTES):
            yield await _called(partial(self._range, file_id, start, size))

    def _range(self, file_id: str, start: int, size: int) -> bytes:
        end = min(start + _PIECE_BYTES, size)
        return bytes(obstore.get_range(self._store, file_id, start=start, end=end)) if end > start else b""

    async def remove(self, file_id: str) -> None:
        """Idempotent."""
        await _unless_missing(lambda: obstore.delete(self._store, file_id))

    async def listed(self, at_once: int) -> AsyncIterator[list[str]]:
        """The ids of all objects in no order, so many at once."""
        pages = await _called(lambda: iter(obstore.list(self._store, chunk_size=at_once)))
        async for page in _each(pages):
            yield [found["path"] for found in page]

    async def problem(self) -> str | None:
        """What is wrong with the store, in words for an operator; None: it answers."""
        try:
            await _called(lambda: next(iter(obstore.list(self._store, chunk_size=1)), None))
            return await _called(lambda: _full(_folder(self._url))) if self._url.startswith(_LOCAL) else None
        except FilesUnavailable as error:
            return str(error)

    async def remove_staged(self, older_than: timedelta) -> int:
        """What dead processes left of objects that they wrote into a local folder; how many they were."""
        if not self._url.startswith(_LOCAL):
            return 0
        before = time.time() - older_than.total_seconds()
        return await _called(lambda: sum(_removed(path, before) for path in _folder(self._url).glob("*#*")))

    @property
    def _part_bytes(self) -> int:
        return _PART_BYTES_OF_FOLDER if self._url.startswith(_LOCAL) else _PART_BYTES

    @cached_property
    def _store(self) -> "ObjectStore":
        """Made when it is needed: a bucket may not be reachable yet, and a folder is only made where files are."""
        if not self._url:
            raise FilesUnavailable("FILES_URL names no place")
        if self._url.startswith(_LOCAL):
            return store.LocalStore(_folder(self._url), mkdir=True)
        return store.from_url(self._url, client_options=_CLIENT, retry_config=_RETRIES)


def _folder(url: str) -> Path:
    """`file:///an/absolute/folder`, `file:/the/same` or `file:a/relative/one`."""
    path = url.removeprefix(_LOCAL)
    return Path(path.removeprefix("//") if path.startswith("///") else path).absolute()


def _full(folder: Path) -> str | None:
    """Before the first file is refused: a list says nothing of it."""
    free = shutil.disk_usage(folder).free
    if free >= _LEAST_FREE_BYTES:
        return None
    return f"{_NO_ROOM}: {free >> 20} MiB are free in the folder of FILES_URL. Make room, or name another one"


def _removed(path: Path, before: float) -> bool:
    if path.stat().st_mtime >= before:
        return False
    path.unlink(missing_ok=True)
    return True


async def _unless_missing(call: Callable[[], T]) -> T | None:
    def found() -> T | None:
        try:
            return call()
        except FileNotFoundError as error:
            if _NO_BUCKET in str(error):
                raise
            return None

    return await _called(found)


async def _each(found: Iterator[T]) -> AsyncIterator[T]:
    while True:
        piece = await _called(lambda: next(found, None))
        if piece is None:
            return
        yield piece


async def _called(call: Callable[[], T]) -> T:
    """Raises FilesUnavailable."""
    return await asyncio.to_thread(_told_apart, call)


def _told_apart(call: Callable[[], T]) -> T:
    with _errors():
        return call()


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError, ValueError) as error:
        # Its text may name a bucket and a key: that is for the log alone.
        told = (str(error).splitlines() or [""])[0][:500]
        get_logger().warning("files_unavailable", reason=f"{type(error).__name__}: {told}")
        raise FilesUnavailable(_in_words(error)) from error


def _in_words(error: Exception) -> str:
    """For an operator; it names no key."""
    told = str(error)
    if _NO_BUCKET in told or isinstance(error, FileNotFoundError):
        return "there is no such bucket or folder"
    if _NO_SPACE.search(told):
        return _NO_ROOM
    if _READ_ONLY.search(told):
        return "it is read-only"
    if _ROLE_OF_MACHINE in told:
        return "no credentials are set, and this machine has no role"
    refused = _REFUSED.search(told) is not None
    if refused or isinstance(error, (PermissionDeniedError, UnauthenticatedError, PermissionError)):
        return "the credentials are refused, or lack the right"
    if "URL error" in told or isinstance(error, (UnknownConfigurationKeyError, ValueError)):
        return "FILES_URL is none of an object store"
    return f"it does not answer as an object store does ({type(error).__name__})"
