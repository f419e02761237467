"""Numbers of a server, of every size and kind."""

import math
from typing import Any

import pytest
from sluiceway_llm.clean_text import MAX_COUNT, count_of

HUGE = 10**400


@pytest.mark.requirement("CH-24", "CH-20")
@pytest.mark.parametrize(
    ("told", "count"),
    [(0, 0), (7, 7), (7.9, 7), ("12", 12), (MAX_COUNT, MAX_COUNT)]
    + [
        (odd, None) for odd in (-1, MAX_COUNT + 1, HUGE, -HUGE, math.inf, -math.inf, math.nan, True, "9" * 30, None, [])
    ],
)
def test_what_is_no_count_is_none(told: Any, count: int | None) -> None:
    assert count_of(told) == count
