"""What counts as no text at all.

Python, the regular expressions of JSON Schema and those of the tools that read our document disagree on what white
space is. So it is spelled out once: controls, spaces, line ends and the byte order mark.
"""

import re

_WHITESPACE = r"\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
_VISIBLE = re.compile(f"[^{_WHITESPACE}]")

# Without NUL, which Postgres cannot store; and with something to be seen as well.
NUL_FREE_PATTERN = r"^[^\u0000]*$"
TEXT_PATTERN = rf"^[^\u0000]*[^{_WHITESPACE}][^\u0000]*$"


def is_whitespace(text: str) -> bool:
    return _VISIBLE.search(text) is None
