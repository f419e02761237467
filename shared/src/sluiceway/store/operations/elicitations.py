"""Accepted operations whose outside service asks a person: they wait for him as a call that needs an approval does.

Guarantees: one question is asked once, however often it is reported; status, the message and the task's count of open
operations change in one statement, and who brings the count to 0 learns it. Of a turn in the background, or a call that
never blocked its turn, nothing is asked: nobody looks there for a question. Lock order: as in operation_end.py.
"""

from sluiceway.store.database.pool import Connection, Pool
from sluiceway.store.operations.operation_end import EndOutcome
from sluiceway.store.records import LIVE, OPERATION_COLUMNS, TASK_COLUMNS, Operation, Task, operation_of, task_of
from sluiceway.wire.elicitation import Elicitation

_ASKED_PARTS = (
    "(SELECT coalesce(jsonb_agg(CASE WHEN part->>'toolCallId' = e.tool_call_id"
    "   THEN (part - '{output,preliminary,errorText}'::text[]) || jsonb_build_object('state', 'approval-requested',"
    "     'approval', jsonb_build_object('id', $3::text)) ELSE part END ORDER BY place), '[]')"
    "  FROM jsonb_array_elements(m.parts) WITH ORDINALITY AS p (part, place)) || jsonb_build_array($4::jsonb)"
)
_ASK = (
    f"WITH held AS (SELECT id FROM tasks WHERE id = $2 AND {LIVE} AND background_at IS NULL FOR UPDATE),"
    " asks AS (UPDATE operations o SET status = 'approval', approval_id = $3, approval = NULL"
    "   FROM held WHERE o.id = $1 AND o.task_id = held.id AND o.status = 'accepted' AND o.poll IS NOT NULL"
    "     AND NOT o.background AND o.approval_id IS DISTINCT FROM $3"
    f"   RETURNING {', '.join(f'o.{name}' for name in Operation.__slots__)}),"
    f" told AS (UPDATE messages m SET parts = {_ASKED_PARTS}"
    "   FROM asks e WHERE m.session_id = e.session_id AND m.id = e.message_id)"
    " UPDATE tasks t SET open_operations = t.open_operations - 1 FROM asks e WHERE t.id = e.task_id"
    f" RETURNING {', '.join(f't.{name}' for name in Task.__slots__)},"
    f" {', '.join(f'e.{name} AS operation_{name}' for name in Operation.__slots__)}"
)


class ElicitationStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ask(self, operation_id: str, task_id: str, elicitation: Elicitation) -> EndOutcome | None:
        """Let it wait for its person. A repeat: this was asked before. None: nothing can be asked of it."""
        async with self._pool.connection() as connection:
            known = await _by_id(connection, operation_id)
            if known is None or (known.task_id != task_id and known.approval_id != elicitation.approval_id):
                return None
            part = elicitation.part(known.tool_call_id)
            row = await connection.fetchrow(_ASK, operation_id, task_id, elicitation.approval_id, part)
            if row is not None:
                operation, task = operation_of(row, "operation_"), task_of(row)
                resumes = task.status == "waiting" and task.open_operations == 0
                return EndOutcome("applied", "", operation, task, resumes=resumes, asks=part)
            now = await _by_id(connection, operation_id)
            if now is None or now.approval_id != elicitation.approval_id:
                return None
            return await _repeat(connection, now, elicitation)


async def _by_id(connection: Connection, operation_id: str) -> Operation | None:
    row = await connection.fetchrow(f"SELECT {OPERATION_COLUMNS} FROM operations WHERE id = $1", operation_id)
    return operation_of(row) if row is not None else None


async def _repeat(connection: Connection, operation: Operation, elicitation: Elicitation) -> EndOutcome:
    row = await connection.fetchrow(f"SELECT {TASK_COLUMNS} FROM tasks WHERE id = $1", operation.task_id)
    if row is None:
        return EndOutcome("unknown")
    task = task_of(row)
    waits = operation.status == "approval"
    asks = elicitation.part(operation.tool_call_id) if waits and operation.approval is None else None
    resumes = waits and task.status == "waiting" and task.open_operations == 0
    return EndOutcome("repeat", "", operation, task, resumes=resumes, asks=asks)
