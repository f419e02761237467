"""Every promise has a test, and every test that claims to hold a promise names one that exists."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.requirements import EXISTING, LATER

_TESTS = Path(__file__).parent


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


def test_every_promise_that_exists_is_held_by_a_test() -> None:
    unheld = sorted(EXISTING.keys() - _marks().keys())
    assert not unheld, f"no test is marked with {unheld}"


def test_every_mark_names_a_promise_that_exists() -> None:
    unknown = {mark: files for mark, files in _marks().items() if mark not in EXISTING}
    assert not unknown, f"unknown, or not built yet: {unknown}"


def test_no_promise_is_both_kept_and_put_off() -> None:
    assert not EXISTING.keys() & LATER.keys()
