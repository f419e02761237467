"""Turns in the background: how they go there, and how another turn continues them.

Guarantees: a turn in the background that waits for nothing any more ends once, and in the same transaction the turn
that continues it is there, once (a compare-and-set, and a unique index behind it). That turn stands at the end of the
conversation, behind a message that nobody wrote: it brings the results (the part `data-results`), whatever a cut-off of
a long conversation has left of the calls. It is queued as any other turn: behind what runs, and at once where that only
waits for operations itself. Of a turn whose message is on a branch that is not shown nothing is continued: its results
stand in its message.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sluiceway.ids import new_message_id, new_task_id
from sluiceway.store.database.pool import Connection, Pool
from sluiceway.store.records import BACKGROUND, CONTINUES, TASK_COLUMNS, Task, task_of
from sluiceway.store.turns.accepting import NewTurn, insert_task
from sluiceway.store.turns.background import OF_SESSION, MadeWay, make_way
from sluiceway.store.turns.ending import TurnEnd, end_turn
from sluiceway.wire.message import Part, calls_in, with_data
from sluiceway.wire.results import results_part

# A message that came while the turn still ran: it was queued, and need not wait any more.
_CHATS_ON = (
    "SELECT EXISTS (SELECT 1 FROM tasks WHERE session_id = $1 AND sequence > $2 AND status = 'queued' AND chats_on)"
)
_DUE = (
    f"SELECT {TASK_COLUMNS} FROM tasks WHERE id = $1 AND status = 'waiting' AND background_at IS NOT NULL"
    " AND open_operations = 0 AND cancel_requested_at IS NULL FOR UPDATE"
)
_NOT_SHOWN = frozenset({"cost"})


@dataclass(frozen=True, slots=True)
class Continued:
    """`ended`: the turn that was in the background, as it stands. `by`: the turn that continues it; None: its branch is
    not shown. `made_way`: the turn that went into the background for that one."""

    ended: Task
    by: Task | None
    made_way: MadeWay | None = None


class BackgroundStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def make_way(self, task: Task) -> MadeWay | None:
        """Put a turn that has begun to wait into the background, where a message came before that which need not
        wait."""
        async with self._pool.connection() as connection:
            if not await connection.fetchval(_CHATS_ON, task.session_id, task.sequence):
                return None
        async with self._pool.transaction() as connection:
            await connection.execute("SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE", task.session_id)
            return await make_way(connection, task.session_id)

    async def carry_on(self, task: Task, shown: Sequence[Part] = ()) -> Continued | None:
        """End a turn in the background whose operations have all ended, and make the one that continues it. None: it
        waits still, has ended, or is to be cancelled. `shown`: what its tools have shown beside their calls, of which
        the message keeps what it lacks."""
        async with self._pool.transaction() as connection:
            await connection.execute("SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE", task.session_id)
            row = await connection.fetchrow(_DUE, task.id)
            return await _carry_on(connection, task_of(row), shown) if row is not None else None

    async def of_session(self, session_id: str) -> list[Task]:
        """The session's turns in the background, in their order."""
        async with self._pool.connection() as connection:
            return [task_of(row) for row in await connection.fetch(OF_SESSION, session_id)]

    async def continued_by(self, task_id: str) -> str | None:
        """The turn that continues this one."""
        async with self._pool.connection() as connection:
            found: str | None = await connection.fetchval("SELECT id FROM tasks WHERE continues = $1", task_id)
        return found


async def _carry_on(connection: Connection, task: Task, shown: Sequence[Part]) -> Continued:
    message = await connection.fetchrow(
        "SELECT parts, metadata, superseded FROM messages WHERE session_id = $1 AND id = $2",
        task.session_id,
        task.message_id,
    )
    parts = with_data(message["parts"], shown) if message is not None and shown else None
    await end_turn(connection, task, TurnEnd("completed", parts, _told(task, message)), None, activate_next=False)
    made_way = by = None
    if message is not None and not message["superseded"]:
        made_way = await make_way(connection, task.session_id)
        by = await _continuing(connection, task, message["parts"], message["metadata"])
    row = await connection.fetchrow(f"SELECT {TASK_COLUMNS} FROM tasks WHERE id = $1", task.id)
    return Continued(task_of(row) if row is not None else task, by, made_way)


async def _continuing(connection: Connection, task: Task, parts: list[Part], metadata: dict[str, Any] | None) -> Task:
    calls = calls_in(parts)
    ended = [calls[call_id] for call_id in (metadata or {}).get(BACKGROUND, []) if call_id in calls]
    turn = NewTurn(
        session_id=task.session_id,
        user_id=task.user_id,
        text="",
        model=task.model,
        traceparent=task.traceparent,
        client_tools=task.client_tools,
        answer_format=task.answer_format,
    )
    told = [results_part(task.id, ended)]
    return await insert_task(
        connection, turn, new_message_id(), told, {CONTINUES: task.id}, new_task_id(), continues=task.id
    )


def _told(task: Task, message: Any) -> dict[str, Any]:
    used = {name: count for name, count in (task.usage or {}).items() if name not in _NOT_SHOWN}
    told = dict(message["metadata"] or {}) if message is not None else {}
    return told | {"status": "completed", "taskId": task.id} | ({"usage": used} if used else {})
