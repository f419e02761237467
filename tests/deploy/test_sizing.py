"""docs/sizing.md follows from docs/numbers.md: what it says was measured stands there; its tables are arithmetic."""

import math
import re

import pytest

from tests.deploy import manifests

_SIZING = (manifests.ROOT / "docs" / "sizing.md").read_text()
_NUMBERS = (manifests.ROOT / "docs" / "numbers.md").read_text()
_SECONDS, _BUSY_SLOTS, _STREAMS = 20, 60, 1000

pytestmark = pytest.mark.requirement("OP-11")


def _rows(head: str) -> list[list[str]]:
    table = _SIZING[_SIZING.index(head) :].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_what_was_measured_stands_among_the_numbers() -> None:
    for number in ("0.64 to 0.88 core", "206,000", "10.1 KB", "51 to 92", "30 tokens/s"):
        assert number in _SIZING
        assert number in _NUMBERS
    (memory, disk) = map(int, re.findall(r"(\d+)/s, (\d+)/s", _NUMBERS)[0])
    assert f"({memory}/s, {disk}/s)" in _SIZING
    assert f"{disk // 10 * 10} completions a second" in _SIZING
    measured = [cells for cells in _rows("| one of | carries | by |") if cells[2] == "measured"]
    assert len(measured) >= 4


def test_slots_are_those_of_the_settings() -> None:
    for service, told in (("chat-worker", "`WORKER_SLOTS` is {} by default"), ("tool-runner", "`WORKER_SLOTS` ({})")):
        slots = manifests.settings(service).model_fields["worker_slots"].get_default()
        assert told.format(slots) in _SIZING
    pool = manifests.settings("gateway").model_fields["database_pool_size"].get_default()
    assert f"`DATABASE_POOL_SIZE` ({pool})" in _SIZING


def test_the_table_of_replicas_is_the_rule_above_it() -> None:
    rows = _rows("| people who chat |")
    assert len(rows) >= 3
    for row in rows:
        people, turns, at_once, workers, gateways = (int(cell.replace(",", "")) for cell in row)
        assert turns == people / 100
        assert at_once == turns * _SECONDS
        assert workers == max(2, math.ceil(at_once / _BUSY_SLOTS))
        assert gateways == max(2, math.ceil(at_once / _STREAMS))
