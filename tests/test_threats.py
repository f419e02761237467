"""The threat model of docs/security.md: each threat has a defence and tests, and these are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "security.md"
_NAME = re.compile(r"`([\w./-]+)`")


def _rows() -> list[list[str]]:
    section = PAGE.read_text().partition("\n## Threats\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return rows[1:]


def _tests_of(name: str) -> list[Path]:
    """The files with tests of that name: a file, wherever it is, or a directory."""
    if name.endswith(".py"):
        found = [path for path in (ROOT / "tests").rglob(Path(name).name) if str(path).endswith(f"/{name}")]
    else:
        found = list((ROOT / name).rglob("test_*.py"))
    return [path for path in found if "def test_" in path.read_text()]


@pytest.mark.requirement("SE-6")
def test_each_threat_has_a_defence_and_tests_that_are_there() -> None:
    rows = _rows()
    assert len(rows) > 30
    assert len({threat for threat, *_ in rows}) == len(rows), "a threat stands there twice"
    for threat, *cells in rows:
        assert len(cells) == 2, f"{threat}: a defence and its tests"
        defence, tests = cells
        assert len(defence) > 10, threat
        names = _NAME.findall(tests)
        assert names, f"{threat}: no test is named"
        for name in names:
            assert _tests_of(name), f"{threat}: there are no tests {name}"
