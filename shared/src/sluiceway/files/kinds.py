"""What a file truly is, by its content: what it says of itself, its name and its sender only choose among texts.

Guarantees: what is told is one of a few types that browsers run no script of, or FileTypeRefused is raised. What is
told to be a text is UTF-8 without NUL, to its last byte. HTML, SVG and scripts are plain text here.
"""

import codecs
import mimetypes
from collections.abc import Collection
from typing import Literal, get_args

import filetype

from sluiceway.errors import FileTypeRefused
from sluiceway.wire.file_part import PDF

TEXT = "text/plain"
# With `text/plain` come the other texts.
FileType = Literal["image/gif", "image/jpeg", "image/png", "image/webp", "application/pdf", "text/plain"]
KINDS: tuple[FileType, ...] = get_args(FileType)
# So much of the beginning tells the type.
HEAD_BYTES = 4096
_TEXTS = frozenset({TEXT, "text/markdown", "text/csv", "application/json"})
# Not read from the machine's own tables: the same everywhere.
_BY_NAME = mimetypes.MimeTypes()
_BY_NAME.add_type("text/markdown", ".md")


class Kind:
    """Of a file that comes in pieces: the type is known from its head on, and is held by `add` for all that follows."""

    def __init__(self, head: bytes, name: str, declared: str | None, allowed: Collection[str]) -> None:
        """Raises FileTypeRefused."""
        self.media_type = _kind(head, name, declared, allowed)
        self._decoder = codecs.getincrementaldecoder("utf-8")() if self.is_text else None

    @property
    def is_text(self) -> bool:
        return self.media_type in _TEXTS

    def add(self, piece: bytes, *, last: bool = False) -> None:
        """Raises FileTypeRefused."""
        if self._decoder is None:
            return
        try:
            self._decoder.decode(piece, last)
        except UnicodeDecodeError:
            raise FileTypeRefused("It is no picture, no PDF, and no text in UTF-8.") from None
        if b"\x00" in piece:
            raise FileTypeRefused("It is no picture, no PDF, and no text: it has NUL characters.")


def _kind(head: bytes, name: str, declared: str | None, allowed: Collection[str]) -> str:
    found = filetype.guess_mime(head)
    kind = TEXT if found is None else str(found)
    if kind not in allowed:
        what = "a text" if kind == TEXT else kind
        raise FileTypeRefused(f"It is {what}, which is not taken. Taken are {', '.join(sorted(allowed))}.")
    told = [said for said in (_plain(declared), _BY_NAME.guess_type(name)[0]) if said]
    for said in told:
        if _family(said) not in (None, _family(kind)):
            raise FileTypeRefused(f"It says that it is {said}, and its content is {kind}.")
    return next((said for said in told if said in _TEXTS - {TEXT}), TEXT) if kind == TEXT else kind


def _family(media_type: str) -> str | None:
    """Of what lies are told: pictures, PDFs, texts. None: says nothing."""
    if media_type == "image/svg+xml":
        return "text"
    if media_type.startswith("image/"):
        return "image"
    if media_type == PDF:
        return "pdf"
    return "text" if media_type.startswith("text/") or media_type in _TEXTS else None


def _plain(media_type: str | None) -> str | None:
    return media_type.partition(";")[0].strip().lower() or None if media_type else None
