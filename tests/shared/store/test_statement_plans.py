"""No statement of the store reads a table from end to end: its plan, with the statistics of tables that have grown.

The statements are those that a walk through the whole store sends (`store_walk.py`). A call of asyncpg in the store
that the walk does not reach fails the test.
"""

import ast
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from asyncpg.pool import PoolConnectionProxy
from sluiceway import store as store_package
from sluiceway.store import Store
from sluiceway.store.database.pool import Connection, Pool

from harness.databases.database import Database
from tests.shared.store.grown_tables import GROWING, ROWS
from tests.shared.store.store_walk import Walk

STORE = Path(store_package.__file__).parent
# Not of requests and turns: the schema, the session of a leader, and what operators look at now and then.
NOT_WALKED = {"migrate.py", "index_files.py", "leadership.py", "ops.py", "pool.py", "probe.py", "wall.py"}
NOT_WALKED_METHODS = {("dead_letters.py", name) for name in ("counts", "page", "purge")}
CALLS = {"fetch", "fetchrow", "fetchval", "execute", "executemany"}


@dataclass
class Statements:
    """What was sent, and from which calls in the store's code."""

    sent: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    reached: set[tuple[str, int]] = field(default_factory=set)

    def note(self, query: str, args: tuple[Any, ...]) -> None:
        self.sent.setdefault(query, args)
        frame: Any = sys._getframe(2)
        path = Path(frame.f_code.co_filename)
        if STORE in path.parents and path.name not in NOT_WALKED:
            self.reached.add((path.name, frame.f_lineno))


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    """asyncpg works as ever; what it is called with is noted."""
    found = Statements()
    for name in CALLS:
        plain = getattr(PoolConnectionProxy, name)

        def noted(self: Any, query: str, *args: Any, _plain: Any = plain, **more: Any) -> Any:
            found.note(query, args)
            return _plain(self, query, *args, **more)

        monkeypatch.setattr(PoolConnectionProxy, name, noted)
    return found


@pytest.fixture
async def store(database_url: str, statements: Statements) -> AsyncIterator[Store]:
    async with Store.open(database_url, max_size=2, application_name="test") as opened:
        yield opened


@pytest.mark.requirement("CH-1")
async def test_every_statement_of_the_store_finds_its_rows_by_an_index(
    store: Store, statements: Statements, database: Database, database_url: str
) -> None:
    await Walk(store, database).whole()
    assert statements.reached, "the walk reached nothing: is the store where it was?"
    assert not _unreached(statements.reached), "calls in the store that the walk does not reach"
    await database.execute(ROWS)
    await database.execute("VACUUM ANALYZE")

    complaints = []
    plans = Pool(database_url, max_size=1, application_name="plans")
    async with plans.connection() as connection:
        for query, args in list(statements.sent.items()):
            if not query.lstrip().startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")):
                continue
            for how, plan in [
                ("with these values", await _plan(connection, query, args)),
                ("with any values", await _generic_plan(connection, query, len(args))),
            ]:
                complaints += [f"{how}: {found}\n    {query}" for found in _scans(plan)]
    await plans.close()

    assert not complaints, "\n".join(complaints)


async def _plan(connection: Connection, query: str, args: tuple[Any, ...]) -> dict[str, Any]:
    plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {query}", *args)
    return plan[0]["Plan"]  # type: ignore[no-any-return]


async def _generic_plan(connection: Connection, query: str, count: int) -> dict[str, Any]:
    """What Postgres uses for a statement that a connection has sent a few times."""
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    await connection.execute(f"PREPARE looked_at AS {query}")
    values = f"({', '.join(['NULL'] * count)})" if count else ""
    plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE looked_at{values}")
    await connection.execute("DEALLOCATE looked_at")
    await connection.execute("RESET plan_cache_mode")
    return plan[0]["Plan"]  # type: ignore[no-any-return]


def _scans(plan: dict[str, Any], limited: bool = False) -> Iterator[str]:
    """Scans of whole tables that grow, be it by an index that only gives the order, of rows that are then left out."""
    limited = limited or plan["Node Type"] == "Limit"
    whole_index = plan["Node Type"].startswith("Index") and "Index Cond" not in plan and "Recheck Cond" not in plan
    partial = any(word in plan.get("Index Name", "") for word in PARTIAL)
    if plan.get("Relation Name") in GROWING:
        if plan["Node Type"] == "Seq Scan":
            yield f"reads all of {plan['Relation Name']}"
        elif whole_index and not partial and (not limited or "Filter" in plan):
            yield f"reads all of {plan['Relation Name']} by {plan['Index Name']}"
    for child in plan.get("Plans", ()):
        # What a sort or a hash needs it needs whole.
        stops = plan["Node Type"] in ("Sort", "Hash", "Aggregate", "Materialize")
        yield from _scans(child, limited and not stops)


# Of rows that are few at any time: those that are not done with.
PARTIAL = (
    "tasks_live",
    "tasks_unsettled",
    "tasks_waiting",
    "tasks_stranded",
    "operations_open",
    "operations_unfinished",
    "webhook_journal_unapplied",
)


def _unreached(reached: set[tuple[str, int]]) -> list[str]:
    lost = []
    for path in sorted(STORE.rglob("*.py")):
        if path.name in NOT_WALKED:
            continue
        for node in _walked(path):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CALLS:
                lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
                if isinstance(node.func.value, ast.Name) and not any((path.name, line) in reached for line in lines):
                    lost.append(f"{path.name}:{node.lineno}")
    return lost


def _walked(path: Path) -> Iterator[ast.AST]:
    """Every node of a module, without those of methods that are not walked."""
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, ast.AsyncFunctionDef) or (path.name, node.name) not in NOT_WALKED_METHODS:
            yield node
            waiting.extend(ast.iter_child_nodes(node))
