"""What others can cause any number of times fills no log."""

import time

import pytest
from sluiceway.process.few_lines import FewLines


@pytest.mark.requirement("SE-4")
def test_how_many_lines_were_left_out_is_in_the_next_one(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    log = FewLines(mcp_server="h")
    for number in range(1000):
        log.info("mcp_tools_changed", tools=number)
    now += 3600
    for number in range(1000, 2000):
        log.info("mcp_tools_changed", tools=number)
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 200
    assert [line for line in lines if "unsaid" in line] == [lines[100]]
    assert "900" in lines[100]
