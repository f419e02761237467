"""Numbers of a server, of every size and kind."""

import math

import pytest
from sluiceway_llm.clean_text import MAX_COUNT, count_of

# An integer larger than any float.
HUGE = 10**400
ODD: list[object] = [-1, MAX_COUNT + 1, HUGE, -HUGE, math.inf, -math.inf, math.nan, True, "9" * 30, None, []]


@pytest.mark.requirement("CH-24", "CH-20")
@pytest.mark.parametrize("told", ODD)
def test_what_is_no_count_is_none(told: object) -> None:
    assert count_of(told) is None


@pytest.mark.requirement("CH-20")
def test_what_is_a_count_is_taken() -> None:
    assert [count_of(one) for one in (0, 7.9, "12", MAX_COUNT)] == [0, 7, 12, MAX_COUNT]
