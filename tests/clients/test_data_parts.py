"""What is told beside the SDK's own chunks is told to the people who write clients, too."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.requirement("GW-2")

_ROOT = Path(__file__).parents[2]
_NAMED = re.compile(r"""["'](data-[a-z]+)["']""")


def test_every_type_of_data_that_is_told_is_on_the_page_about_clients() -> None:
    sources = [*_ROOT.glob("services/*/src/**/*.py"), *_ROOT.glob("shared/src/**/*.py")]
    told = {name for source in sources for name in _NAMED.findall(source.read_text())}
    page = (_ROOT / "docs" / "clients.md").read_text()
    rows = set(re.findall(r"^\| `(data-[a-z]+)` \|", page, re.MULTILINE))

    assert {"data-status", "data-background"} <= told
    assert told == rows
