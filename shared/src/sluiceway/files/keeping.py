"""Keeping a file: its row, its bytes, and in which order, so that nothing is left behind.

Guarantees
- The row is there before the first byte, and says that the file is whole after the last one. Who dies in between
  leaves a row that the reconciler removes, and the object with it.
- A file that is refused, too large, or breaks off leaves neither.
"""

import hashlib
import re
import unicodedata
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field

from sluiceway.errors import FileNotFound, FileTooLarge, Unavailable
from sluiceway.files.kinds import HEAD_BYTES, Kind
from sluiceway.files.objects import FileObjects
from sluiceway.ids import new_file_id
from sluiceway.process.logs import get_logger
from sluiceway.store import Store
from sluiceway.store.records import StoredFile
from sluiceway.store.sessions.files import Allowance, NewFile

_MAX_NAME_CHARS = 200
_PIECE_BYTES = 1024 * 1024
_UNNAMED = "file"
_SEPARATORS = re.compile(r"[/\\]+")


@dataclass(frozen=True, slots=True)
class FileLimits:
    """`kinds`: the types that are taken, see kinds.py. `allowance`: of one owner, in all."""

    max_bytes: int
    kinds: Collection[str]
    allowance: Allowance = field(default_factory=Allowance)


@dataclass(frozen=True, slots=True)
class Sent:
    """A file as its sender tells of it. `file_id`: where the same file may be sent again. `session_id`: the
    conversation that it belongs to already."""

    name: str
    declared: str | None = None
    announced_bytes: int | None = None
    user_id: str | None = None
    session_id: str | None = None
    file_id: str | None = None


class FileKeeping:
    def __init__(self, store: Store, objects: FileObjects, limits: FileLimits) -> None:
        self._store = store
        self._objects = objects
        self._limits = limits

    async def keep(self, sent: Sent, pieces: AsyncIterator[bytes]) -> StoredFile:
        """Store what comes. Raises FileTooLarge, FileTypeRefused, FileQuotaReached, FilesUnavailable, StoreUnavailable,
        and what `pieces` raises."""
        head, rest = await _head_of(pieces)
        kind = Kind(head, sent.name, sent.declared, self._limits.kinds)
        size = self._limits.max_bytes if sent.announced_bytes is None else sent.announced_bytes
        self._check(max(len(head), size if sent.announced_bytes is not None else 0))
        file_id = sent.file_id or new_file_id()
        new = NewFile(file_id, sent.user_id, sent.session_id, clean_name(sent.name), kind.media_type, size)
        known = await self._store.files.begin(new, self._limits.allowance)
        if known is not None:
            return known
        try:
            return await self._finished(file_id, *await self._write(file_id, kind, head, rest))
        except BaseException:
            await self._give_up(file_id)
            raise

    async def keep_bytes(self, sent: Sent, content: bytes) -> StoredFile:
        """As `keep`, of what is there whole."""
        return await self.keep(sent, _whole(content))

    async def _write(self, file_id: str, kind: Kind, head: bytes, rest: AsyncIterator[bytes]) -> tuple[int, str]:
        digest, size = hashlib.sha256(), 0
        writing = self._objects.write(file_id)
        try:
            async for piece in _after(head, rest):
                size += len(piece)
                self._check(size)
                kind.add(piece)
                digest.update(piece)
                await writing.write(piece)
            kind.add(b"", last=True)
            await writing.close()
        except BaseException:
            await writing.abort()
            raise
        return size, digest.hexdigest()

    async def _finished(self, file_id: str, size: int, digest: str) -> StoredFile:
        stored = await self._store.files.finish(file_id, size, digest)
        if stored is None:
            raise FileNotFound  # it took so long that it was given up
        return stored

    def _check(self, size: int) -> None:
        if size > self._limits.max_bytes:
            raise FileTooLarge(max_file_bytes=self._limits.max_bytes)

    async def _give_up(self, file_id: str) -> None:
        """Without its row the object goes, too; where that fails the reconciler does it."""
        try:
            await self._store.files.drop(file_id)
        except Unavailable as error:
            get_logger().warning("file_not_given_up_yet", file_id=file_id, reason=str(error))


def clean_name(name: str) -> str:
    """The last part of a path, without what cannot be seen, in at most so many characters."""
    last = _SEPARATORS.split(unicodedata.normalize("NFC", name))[-1]
    seen = "".join(sign for sign in last if unicodedata.category(sign)[0] != "C").strip(" .")
    if len(seen) <= _MAX_NAME_CHARS:
        return seen or _UNNAMED
    stem, dot, ending = seen.rpartition(".")
    ending = dot + ending if stem and len(ending) <= 10 else ""
    return seen[: _MAX_NAME_CHARS - len(ending)] + ending


async def _head_of(pieces: AsyncIterator[bytes]) -> tuple[bytes, AsyncIterator[bytes]]:
    head = b""
    while len(head) < HEAD_BYTES and (piece := await anext(pieces, None)) is not None:
        head += piece
    return head, pieces


async def _after(head: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if head:
        yield head
    async for piece in rest:
        yield piece


async def _whole(content: bytes) -> AsyncIterator[bytes]:
    """In pieces: the object store copies each."""
    for begin in range(0, len(content), _PIECE_BYTES):
        yield content[begin : begin + _PIECE_BYTES]
