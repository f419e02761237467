"""Every promise has a test or says what is missing, in the feature list's words, and every mark names a promise."""

import ast
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.requirements import OPEN, PROMISES

_TESTS = Path(__file__).parent
# Of the words in the feature list, for a clone that does not have the list beside it. Who has it runs both tests below.
_WORDS_SHA256 = "2a59b1653464ca55d73a11c5cebd5248b2594b0a1c01f3ee103b9731209f79c2"


def _marked_ids(source: str) -> Iterator[str]:
    """The ids in every `pytest.mark.requirement(...)` of a module: on tests, classes, parameters or `pytestmark`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "requirement":
            for argument in node.args:
                assert isinstance(argument, ast.Constant), f"a requirement mark that is no literal: {ast.unparse(node)}"
                yield str(argument.value)


def _marks() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in sorted(_TESTS.rglob("test_*.py")):
        for requirement_id in _marked_ids(path.read_text()):
            found.setdefault(requirement_id, []).append(str(path.relative_to(_TESTS)))
    return found


def _feature_list() -> Path | None:
    """It stands beside the checkout, or beside the folder that has it among others."""
    places = (parent / "shared" / "design" / "FEATURES.md" for parent in _TESTS.parents[1:4])
    return next((place for place in places if place.is_file()), None)


def test_every_promise_is_held_by_a_test_or_marked_open() -> None:
    unheld = sorted(PROMISES.keys() - OPEN.keys() - _marks().keys())
    assert not unheld, f"no test is marked with {unheld}, and none of them is marked open"


def test_every_mark_names_a_promise() -> None:
    unknown = {mark: files for mark, files in _marks().items() if mark not in PROMISES}
    assert not unknown


def test_every_open_promise_is_one_and_says_what_is_missing() -> None:
    assert PROMISES.keys() >= OPEN.keys()
    assert not [requirement_id for requirement_id, missing in OPEN.items() if not missing.endswith(".")]


def test_the_words_are_those_that_were_agreed() -> None:
    words = "\n".join(f"{requirement_id} {promise}" for requirement_id, promise in sorted(PROMISES.items()))
    assert hashlib.sha256(words.encode()).hexdigest() == _WORDS_SHA256


def test_the_words_are_those_of_the_feature_list() -> None:
    place = _feature_list()
    if place is None:
        pytest.skip("no shared/design/FEATURES.md beside this checkout: the words are compared with their hash alone")
    rows = re.findall(r"^\| ([A-Z]{2}-\d+) \| (.*) \|$", place.read_text(encoding="utf-8"), re.MULTILINE)
    assert dict(rows) == PROMISES
