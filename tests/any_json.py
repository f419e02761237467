"""Whatever JSON, and whatever text, there is: also what no server should send."""

import json
from functools import reduce
from typing import Any

from hypothesis import strategies as st

ANY_TEXT = st.text(st.characters(codec=None)) | st.sampled_from(["\x00", "\ud83d\ude00", "\udc00x", "a\x00\ud800"])
_KEYS = ANY_TEXT | st.sampled_from(["__proto__", "constructor", "prototype"])
_LEAVES = st.none() | st.booleans() | st.integers() | st.integers(10**300, 10**320) | st.floats() | ANY_TEXT
ANY_JSON = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=4), max_leaves=15
)


def nested(depth: int, inner: Any = 1) -> Any:
    return reduce(lambda value, level: [value] if level % 2 else {"in": value}, range(depth), inner)


def as_doubles(value: Any) -> Any:
    """As JavaScript reads it: Postgres gives a large float back as an integer."""
    return json.loads(json.dumps(value), parse_int=float)
