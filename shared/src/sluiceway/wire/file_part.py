"""A file as a part of a message: the shape of the AI SDK's `FileUIPart`, with an address of this service.

Guarantees: a file is named by its id alone, wherever the address says that the service is; nothing else is
ever fetched.
"""

import re
from collections.abc import Iterable
from typing import Any

FILE_PATH = "/api/chat/files/"
PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
PDF = "application/pdf"
_URL = re.compile(r"(?:https?://[^/?#]+(?:/[^?#]*)?)?/api/chat/files/(file_[0-9a-f]{32})\Z")


def file_url(file_id: str) -> str:
    return f"{FILE_PATH}{file_id}"


def file_part(file_id: str, name: str, media_type: str) -> dict[str, Any]:
    return {"type": "file", "mediaType": media_type, "filename": name, "url": file_url(file_id)}


def file_id_of(url: object) -> str | None:
    """The id in such an address; None where it is none."""
    found = _URL.match(url) if isinstance(url, str) else None
    return found[1] if found else None


def file_ids(parts: Iterable[dict[str, Any]]) -> list[str]:
    """Of the file parts of a message, in their order."""
    found = (file_id_of(part.get("url")) for part in parts if part.get("type") == "file")
    return [file_id for file_id in found if file_id is not None]
