"""How much an MCP server may say at once: bytes, and what JSON is made of.

A message of very many small things costs far more than its bytes, and is not parsed.
"""

# Images are in a message, too, although they are no part of the result.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
# Strings, objects, lists and commas in a message. Each takes some hundred bytes of memory once it is parsed.
MAX_VALUES = 100_000
# The pieces of a result. The library reads each as everything that a piece may be, 0.1 ms each.
MAX_BLOCKS = 2000
# Of an event of a stream: each line is an object while the event is taken apart.
MAX_LINES = 100_000
TOO_LARGE = f"the server answered more than {MAX_MESSAGE_BYTES} bytes, or too many small things"


class Values:
    """What JSON is made of, counted before it is parsed, as its bytes come.

    Commas and brackets in a string are none: a text may have as many as it likes. A string ends with its line.
    """

    def __init__(self) -> None:
        self._found = 0
        self._in_string = 0
        self._begun_escape = b""

    @property
    def too_many(self) -> bool:
        return self._found > MAX_VALUES

    def add(self, chunk: bytes) -> None:
        text = self._begun_escape + chunk
        odd = (len(text) - len(text.rstrip(b"\\"))) % 2
        self._begun_escape, text = text[len(text) - odd :], text[: len(text) - odd]
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
        pieces = text.split(b'"')
        between = b"".join(pieces[self._in_string :: 2])
        self._found += len(pieces) // 2 + sum(map(between.count, (b",", b"{", b"[")))
        _, line_end, last_line = text.rpartition(b"\n")
        self._in_string = (last_line.count(b'"') + (0 if line_end else self._in_string)) % 2
