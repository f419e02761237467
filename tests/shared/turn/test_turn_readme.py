"""turn/README.md is held against the code: its tables name every statement and script, and its names exist."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import get_args

import sluiceway
from sluiceway.store.records import OperationStatus
from sluiceway.stream.task_meta import REBUILDING
from sluiceway.wire.task import Status

_SHARED = Path(sluiceway.__file__).parent
_SERVICES = _SHARED.parents[2] / "services"
_README = _SHARED / "turn" / "README.md"
_WRITES = re.compile(r"(UPDATE|INSERT INTO|DELETE FROM) (tasks|operations|sessions)\b")
_STATUSES = {*get_args(Status), *get_args(OperationStatus)}
_ROW = re.compile(r"^\| (\d+) \| (.*) \|$", re.MULTILINE)
_ARROW = re.compile(r"^    (\S+) --> (\S+): (.*)$", re.MULTILINE)
_NAME = re.compile(r"`([^`]+)`")
_FAULT = re.compile(r'"([a-z ]+)"')


def _rows() -> dict[int, list[str]]:
    """The cells of every numbered row."""
    found: dict[int, list[str]] = {}
    for number, cells in _ROW.findall(_README.read_text()):
        assert int(number) not in found, f"two rows {number}"
        found[int(number)] = cells.split(" | ")
    return found


_Rows = dict[int, list[str]]


def _of_turns() -> _Rows:
    return {number: cells for number, cells in _rows().items() if not 30 <= number < 50}


def _of_operations() -> _Rows:
    return {number: cells for number, cells in _rows().items() if 30 <= number < 50}


def _transitions(rows: _Rows) -> _Rows:
    return {number: cells for number, cells in rows.items() if " → " in cells[0]}


def _names(rows: _Rows) -> set[str]:
    return {name for cells in rows.values() for cell in cells for name in _NAME.findall(cell)}


@cache
def _modules() -> dict[Path, ast.Module]:
    paths = [*_SHARED.rglob("*.py"), *_SERVICES.glob("*/src/**/*.py")]
    return {path: ast.parse(path.read_text()) for path in paths}


def _written(node: ast.AST) -> set[str]:
    """The tables that SQL in a definition writes. A deleted session takes its tasks along."""
    found: set[str] = set()
    for one in ast.walk(node):
        if isinstance(one, ast.Constant) and isinstance(one.value, str):
            for verb, table in _WRITES.findall(one.value):
                if table != "sessions" or verb == "DELETE FROM":
                    found.add(table)
    return found


def _definitions(path: Path, module: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """`module.function`, `module.CONSTANT` and `Class.method` with what they are made of."""
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{path.stem}.{node.name}", node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield f"{path.stem}.{node.targets[0].id}", node
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield f"{node.name}.{inner.name}", inner


def _uses(node: ast.AST, name: str) -> bool:
    return any(isinstance(one, ast.Name) and one.id == name for one in ast.walk(node))


def _statements(table: str) -> Iterator[tuple[str, set[str]]]:
    """Each definition of the store that writes this table, with the names under which the page may have it: its own; of
    a constant also those of the definitions that use it."""
    for path in (_SHARED / "store").rglob("*.py"):
        definitions = list(_definitions(path, _modules()[path]))
        for name, node in definitions:
            if table in _written(node) or (table == "tasks" and "sessions" in _written(node)):
                constant = name.rpartition(".")[2] if isinstance(node, ast.Assign) else None
                users = {user for user, one in definitions if constant is not None and _uses(one, constant)}
                yield name, {name} | users


def _writing_scripts() -> Iterator[str]:
    """Scripts that write a task's metadata or stream."""
    for path in (_SHARED / "lua" / "stream").glob("*.lua"):
        if re.search("'(HSET|HDEL|XADD)'", path.read_text()):
            yield f"stream/{path.name}"


def _status_scripts() -> Iterator[str]:
    """Scripts that write a task's status: by themselves, or as a field that their caller gives them."""
    for path in (_SHARED / "lua" / "stream").glob("*.lua"):
        if any("HSET" in line and "'status'" in line for line in path.read_text().splitlines()):
            yield f"stream/{path.name}"
    for path in (_SHARED / "stream").glob("*.py"):
        for _, node in _definitions(path, _modules()[path]):
            texts = {one.value for one in ast.walk(node) if isinstance(one, ast.Constant)}
            if "status" in texts:
                yield from (f"{text}.lua" for text in texts if isinstance(text, str) and text.startswith("stream/"))


def _known_names() -> set[str]:
    known = {*_STATUSES, REBUILDING}
    known |= {str(path.relative_to(_SHARED / "lua")) for path in (_SHARED / "lua").rglob("*.lua")}
    for path, module in _modules().items():
        known |= {name for name, _ in _definitions(path, module)}
        known |= {node.name for node in module.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
        for node in ast.walk(module):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                known.add(node.target.id.upper())  # settings, by their names in the environment
    return known


def test_every_statement_that_writes_tasks_or_operations_is_in_its_table() -> None:
    of_tables = {"tasks": _names(_of_turns()), "operations": _names(_of_operations())}
    unnamed = [
        (table, name) for table, known in of_tables.items() for name, names in _statements(table) if not names & known
    ]
    assert not unnamed, f"no row of turn/README.md names the statement of {unnamed}"


def test_the_statements_are_found() -> None:
    """The look is no use when it finds nothing."""
    found = {name for name, _ in _statements("tasks")}
    assert {"accepting.insert_task", "TurnStore.claim", "turns._PAUSE", "erasing.delete_session"} <= found
    assert "OperationStore.start" in {name for name, _ in _statements("operations")}


def test_every_script_that_writes_a_tasks_status_is_in_a_transition() -> None:
    scripts = set(_status_scripts())
    assert {"stream/create.lua", "stream/begin.lua", "stream/wait.lua", "stream/close.lua"} <= scripts
    unnamed = scripts - _names(_transitions(_of_turns()))
    assert not unnamed, f"no transition of turn/README.md names {unnamed}"


def test_every_script_that_writes_a_tasks_metadata_or_stream_is_in_a_table() -> None:
    unnamed = set(_writing_scripts()) - _names(_of_turns())
    assert not unnamed, f"no row of turn/README.md names {unnamed}"


def test_no_row_is_missing() -> None:
    rooms = [{number for number in _rows() if number in room} for room in (range(30), range(30, 50), range(50, 99))]
    for rows in rooms:
        assert sorted(rows) == list(range(min(rows), max(rows) + 1))


def test_every_name_in_the_tables_exists() -> None:
    known = _known_names()
    unknown = sorted(name for name in _names(_rows()) if name not in known)
    assert not unknown, f"turn/README.md names what does not exist: {unknown}"


def test_every_fault_that_the_reconciler_repairs_is_in_a_table_and_no_other() -> None:
    (path,) = (path for path in _modules() if path.name == "unfinished_turns.py")
    (fault,) = (node for name, node in _definitions(path, _modules()[path]) if name.endswith(".Fault"))
    faults = {one.value for one in ast.walk(fault) if isinstance(one, ast.Constant)}
    named = {word for cells in _rows().values() for cell in cells for word in _FAULT.findall(cell)}
    assert named == faults


def test_the_drawings_have_the_arrows_of_the_tables_and_no_others() -> None:
    drawn: dict[int, set[tuple[str, str]]] = defaultdict(set)
    for before, after, numbers in _ARROW.findall(_README.read_text()):
        for number in numbers.split(", "):
            drawn[int(number)].add((before, after))
    told: dict[int, set[tuple[str, str]]] = {}
    for number, cells in _transitions(_rows()).items():
        before, after = cells[0].replace("`", "").split(" → ")
        told[number] = set(product(before.split(", "), after.split(", ")))
    differing = {number for number in drawn.keys() | told.keys() if drawn.get(number) != told.get(number)}
    assert not differing, f"rows and arrows of turn/README.md differ: {sorted(differing)}"
