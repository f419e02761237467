"""A file as a message names it: by the address of one that was uploaded, or as a data URL, which has all of it."""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from sluiceway.wire.file_part import file_id_of

from gateway.api.problems import FileUrlRefused

_DATA = re.compile(r"data:([^,;]*+)((?:;[^,;]*+)*+),", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PostedFile:
    url: str
    name: str | None = None
    media_type: str | None = None

    @property
    def id(self) -> str | None:
        """Of one that was uploaded."""
        return file_id_of(self.url)

    @property
    def declared(self) -> str | None:
        """What it says that it is. The first half of a type alone (`image`, `image/*`) says too little."""
        found = _DATA.match(self.url)
        told = self.media_type or (found[1] if found else None)
        return told if told and "/" in told and not told.endswith("*") else None

    def content(self) -> bytes:
        """Of a data URL. Raises FileUrlRefused."""
        found = _DATA.match(self.url)
        if found is None:
            raise FileUrlRefused
        rest = self.url[found.end() :]
        if not found[2].lower().endswith(";base64"):
            return unquote_to_bytes(rest)
        try:
            return base64.b64decode(unquote_to_bytes(rest), validate=True)
        except (ValueError, binascii.Error):
            raise FileUrlRefused("A data URL of the message is not base64.") from None


def posted_files(parts: Sequence[Mapping[str, Any]]) -> list[PostedFile]:
    """The file parts of an AI SDK's message. Raises FileUrlRefused."""
    return [_posted(part) for part in parts if part.get("type") == "file"]


def _posted(part: Mapping[str, Any]) -> PostedFile:
    url, name, media_type = part.get("url"), part.get("filename"), part.get("mediaType")
    if not isinstance(url, str):
        raise FileUrlRefused
    return PostedFile(url, name if isinstance(name, str) else None, media_type if isinstance(media_type, str) else None)
