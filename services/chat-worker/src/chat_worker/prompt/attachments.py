"""The files of a conversation as a model is told of them: pictures as they are, texts and the text of PDFs in words.

Guarantees
- Whatever became of a file, the model is told a sentence about it, and the turn goes on: one that is gone, that cannot
  be read, that is too much for its reader.
- A PDF is read once, in a process of its own (`sluiceway.process.confined`), and what was read of it is stored.
- Of the pictures the newest are sent, with a bounded number of bytes together; of the others, and to a model that takes
  none, it is said that they are there.
- What a file says cannot end the marks around it.
"""

import asyncio
import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from sluiceway.errors import FilesUnavailable
from sluiceway.files.objects import FileObjects
from sluiceway.process.confined import Confined, NotRead
from sluiceway.process.logs import get_logger
from sluiceway.store import Store
from sluiceway.store.records import Message, StoredFile
from sluiceway.store.sessions.conversations import Conversation
from sluiceway.wire.events import Data
from sluiceway.wire.file_part import PDF, PICTURES, file_id_of, file_ids
from sluiceway.wire.message import Part, text_of

TOLD = "told"
"""Where a file part has what the model is told of it."""
_WHY = "why"
_AWAY = "it cannot be reached at the moment"
FILE_OPENS = "<file "
MAX_CHARS = 200_000
# One at a time: what a reader may take stands beside the worker's own memory.
_READ_SECONDS, _READERS = 20.0, 1
_MOST_TRIES = 2
# A character is at most twelve bytes of JSON.
_BYTES_OF_A_CHAR, _MORE_BYTES = 12, 4096
_CLOSING = re.compile(r"</(?=file\b)", re.IGNORECASE)
_TOO_MUCH = "it took too long, or too much memory, to read"


class AttachmentSettings(Protocol):
    @property
    def max_picture_bytes(self) -> int: ...
    @property
    def files_public_url(self) -> str | None: ...


class _Untold(Exception):
    """Why the model is not told what is in a file."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(slots=True)
class _Room:
    """For pictures, of one request."""

    bytes: int


class Attachments:
    def __init__(self, settings: AttachmentSettings, store: Store, objects: FileObjects) -> None:
        self._settings = settings
        self._store = store
        self._objects = objects
        program = Path(__file__).with_name("pdf_child.py")
        self._pdfs = Confined(program, ("sluiceway", "pypdf"), seconds=_READ_SECONDS, at_once=_READERS)
        self._log = get_logger()

    async def told(self, user_id: str | None, conversation: Conversation) -> Conversation:
        """The conversation, whose file parts say what the model is told. Raises StoreUnavailable."""
        ids = {file_id for message in conversation.messages for file_id in file_ids(message.parts)}
        if not ids:
            return conversation
        files = await self._store.files.of_owner(user_id, ids)
        room = _Room(self._settings.max_picture_bytes)
        # The newest first: they have the first call on the room.
        newest_first = [await self._message(message, files, room) for message in reversed(conversation.messages)]
        return replace(conversation, messages=newest_first[::-1])

    async def _message(self, message: Message, files: dict[str, StoredFile], room: _Room) -> Message:
        if message.role != "user" or not file_ids(message.parts):
            return message
        return replace(message, parts=[await self._part(part, files, room) for part in message.parts])

    async def _part(self, part: Part, files: dict[str, StoredFile], room: _Room) -> Part:
        if part["type"] != "file":
            return part
        try:
            return {**part, TOLD: await self._file(files.get(file_id_of(part.get("url")) or ""), room)}
        except _Untold as untold:
            return {**part, TOLD: _said(part.get("filename"), untold.why), _WHY: untold.why}
        except FilesUnavailable:
            return {**part, TOLD: _said(part.get("filename"), _AWAY), _WHY: _AWAY}

    async def _file(self, file: StoredFile | None, room: _Room) -> list[Part]:
        """Raises _Untold, FilesUnavailable."""
        if file is None:
            raise _Untold("it was deleted")
        if file.media_type in PICTURES:
            return await self._picture(file, room)
        known = file.reading or {}
        reading = known if "text" in known or "problem" in known else await self._read(file, known.get("tries", 0))
        if "problem" in reading:
            raise _Untold(reading["problem"])
        return _text(file, reading)

    async def _picture(self, file: StoredFile, room: _Room) -> list[Part]:
        if file.size > room.bytes:
            raise _Untold("the pictures of this conversation are more than can be sent, so it is not shown")
        room.bytes -= file.size
        public = self._settings.files_public_url
        if public is not None:
            return _shown(file, f"{public.rstrip('/')}/{file.id}")
        encoded = await asyncio.to_thread(base64.b64encode, await self._content(file))
        return _shown(file, f"data:{file.media_type};base64,{encoded.decode()}")

    async def _content(self, file: StoredFile) -> bytes:
        content = await self._objects.read(file.id)
        if content is None:
            raise _Untold("it is gone")
        return content

    async def _read(self, file: StoredFile, tries: int) -> dict[str, Any]:
        """What a document says, or why it cannot be read; stored, so that it is found out once. One whose reading ended
        its worker is not tried for ever."""
        content = await self._content(file)
        if file.media_type != PDF:
            return {"text": content[: MAX_CHARS * 4].decode(errors="replace")[:MAX_CHARS]}
        if tries >= _MOST_TRIES:
            return {"problem": _TOO_MUCH}
        await self._store.files.note_reading(file.id, {"tries": tries + 1})
        try:
            reading = await self._pdfs.read(content, [str(MAX_CHARS)], MAX_CHARS * _BYTES_OF_A_CHAR + _MORE_BYTES)
        except NotRead:
            reading = {"problem": _TOO_MUCH}
        if "text" in reading:
            # Surrogates and NUL are no text that can be stored.
            reading["text"] = reading["text"].encode(errors="replace").decode().replace("\x00", "")
            if not reading["text"].strip():
                reading = {"problem": "it has no text, perhaps because its pages are pictures"}
        self._log.info("document_read", file_id=file.id, bytes=file.size, problem=reading.get("problem"))
        await self._store.files.note_reading(file.id, reading)
        return dict(reading)


def content_of(parts: Sequence[Part], text: str) -> str | list[Part]:
    """What a user's message says: its text, behind what is told of its files."""
    told = [one for part in parts if part["type"] == "file" for one in _told(part)]
    if not told:
        return text
    return [*told, {"type": "text", "text": text}] if text else told


def unread_files(history: Sequence[Message]) -> list[Data]:
    """Of the question: which of its files the model is told nothing of, and why, for the one who asked."""
    parts = history[-1].parts if history else []
    return [
        Data(
            type="data-file", id=part["url"], data={"url": part["url"], "name": part["filename"], "problem": part[_WHY]}
        )
        for part in parts
        if part["type"] == "file" and _WHY in part
    ]


def text_or_names(parts: Sequence[Part]) -> str:
    """What a message is about, in words."""
    return text_of(parts) or ", ".join(str(part.get("filename")) for part in parts if part["type"] == "file")


def _told(part: Part) -> list[Part]:
    """One whose bytes nobody looked for is named."""
    return part[TOLD] if TOLD in part else _said(part.get("filename"), "its content is not shown here")


def _said(name: Any, why: str) -> list[Part]:
    return [{"type": "text", "text": f"[The user has attached the file {_quoted(name)}, but {why}.]"}]


def _shown(file: StoredFile, url: str) -> list[Part]:
    name = {"type": "text", "text": f"[The picture {_quoted(file.name)}:]"}
    return [name, {"type": "image_url", "image_url": {"url": url}}]


def _text(file: StoredFile, reading: dict[str, Any]) -> list[Part]:
    said = _CLOSING.sub("<\\/", reading["text"])
    pages, read = reading.get("pages"), reading.get("read")
    more = f' pages="1-{read} of {pages}"' if pages is not None and read != pages else ""
    opens = f'{FILE_OPENS}name={_quoted(file.name)} type="{file.media_type}"{more}>'
    return [{"type": "text", "text": f"{opens}\n{said}\n</file>"}]


def _quoted(name: Any) -> str:
    told = str(name or "without a name").replace('"', "'").replace("<", "(").replace(">", ")")
    return f'"{" ".join(told.split())}"'
