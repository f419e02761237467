"""The operations of a turn, found by what became of them."""

from harness.clients.chat import Turn
from harness.databases.database import Database
from harness.waiting import wait_until


async def operation_in(database: Database, turn: Turn, status: str) -> str:
    async def look() -> str | None:
        found: str | None = await database.fetchval(
            "SELECT id FROM operations WHERE task_id = $1 AND status = $2", turn.task_id, status
        )
        return found

    found_id = await wait_until(look, 20, f"an operation is {status}")
    assert found_id is not None
    return found_id
