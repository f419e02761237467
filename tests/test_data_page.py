"""docs/data.md names all that is stored: every column of every table, and every key."""

import re
from pathlib import Path

import pytest

from harness.databases.database import Database
from tests.every_key import every_key

PAGE = Path(__file__).parents[1] / "docs" / "data.md"
_NAME = re.compile(r"`([^`]+)`")


def _part(title: str) -> str:
    return PAGE.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def _named(section: str) -> set[str]:
    """What the first cells of its table name."""
    cells = re.findall(r"^\| ([^|]*) \|", section, re.MULTILINE)
    return {name for cell in cells for name in _NAME.findall(cell)}


@pytest.mark.requirement("LC-4")
async def test_every_column_of_every_table_is_named_and_no_other(database: Database) -> None:
    stored: dict[str, set[str]] = {}
    for row in await database.fetch(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
    ):
        stored.setdefault(row["table_name"], set()).add(row["column_name"])
    sections = [section.partition("\n") for section in _part("Postgres").split("\n### ")[1:]]
    assert len({title for title, _, _ in sections}) == len(sections), "a table is described twice"
    assert {title: _named(section) for title, _, section in sections} == stored


@pytest.mark.requirement("LC-4")
def test_every_key_is_named_and_no_other() -> None:
    assert _named(_part("Redis")) == set(every_key())
