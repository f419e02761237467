"""Reading HTML of strangers: in a process of its own, which has nothing to lose (`sluiceway.process.confined`).

Guarantees: an answer, or HtmlNotRead, within READ_SECONDS and a moment, for any page; at most MAX_READERS read at once.
"""

from pathlib import Path

from sluiceway.process.confined import Confined, NotRead
from sluiceway.process.confined_child import CPU_SECONDS, MEMORY_BYTES

__all__ = ["CPU_SECONDS", "MAX_READERS", "MEMORY_BYTES", "READ_SECONDS", "HtmlNotRead", "HtmlReaders"]

# Of a loaded machine; what the child may compute is less.
READ_SECONDS = 20.0
MAX_READERS = 2
_PROGRAM = Path(__file__).with_name("html_child.py")
_NEEDS = ("sluiceway", "tool_runner", "selectolax")
# A character is at most twelve bytes of JSON. Beside the text there is a title.
_BYTES_OF_A_CHAR = 12
_MORE_BYTES = 64 * 1024

HtmlNotRead = NotRead
"""The page is too much for the reader."""


class HtmlReaders:
    def __init__(self) -> None:
        self._children = Confined(_PROGRAM, _NEEDS, seconds=READ_SECONDS, at_once=MAX_READERS)

    async def read(self, body: bytes, charset: str, url: str, max_chars: int) -> tuple[str | None, str]:
        """The title, if there is one, and the text, which may be one character longer than wanted.

        Raises HtmlNotRead.
        """
        most = max_chars * _BYTES_OF_A_CHAR + _MORE_BYTES
        answer = await self._children.read(body, [charset, url, str(max_chars)], most)
        return answer["title"], answer["text"]
