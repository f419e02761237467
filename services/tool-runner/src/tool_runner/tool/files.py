"""What a tool keeps as a file: for the conversation that called it, and for its user to see."""

from collections.abc import Awaitable, Callable

from sluiceway.errors import FilesUnavailable
from sluiceway.wire.message import Part

# Name, content and what it is said to be, to the file's part.
KeepFile = Callable[[str, bytes, str | None], Awaitable[Part]]


async def no_files(name: str, content: bytes, media_type: str | None) -> Part:
    """Where there is no place for files."""
    raise FilesUnavailable("this runner keeps no files")
