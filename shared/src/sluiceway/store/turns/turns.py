"""Turns: accept, claim, end, cancel. Each is one transaction, and each change of status a compare-and-set.

Lock order: the session's row first, then its tasks. The end of a turn and the acceptance of the next one meet at that
row, so a turn that is queued behind another is always seen by the other's end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sluiceway.errors import TaskNotFound
from sluiceway.store.database.pool import Connection, Pool
from sluiceway.store.operations.operations import NewOperation, calls_of, insert_operations, operations_of
from sluiceway.store.operations.webhooks import SHOW_AGAIN
from sluiceway.store.people.usage import ModelCall, insert_calls, rows_of
from sluiceway.store.records import (
    BACKGROUND,
    LIVE,
    OPERATION_COLUMNS,
    TASK_COLUMNS,
    Message,
    Operation,
    Task,
    message_of,
    operation_of,
    task_of,
)
from sluiceway.store.sessions.newest import CONTEXT_BYTES, newest_of
from sluiceway.store.sessions.sessions import check_owner
from sluiceway.store.turns.accepting import AcceptedTurn, NewTurn, accept
from sluiceway.store.turns.approving import AnswersNoted, ClientOutput, Decision, answer
from sluiceway.store.turns.background import IN_THE_WAY, tell_started
from sluiceway.store.turns.ending import (
    BY_ITS_OWNER,
    Ended,
    EndFacts,
    TurnEnd,
    cancelled_unseen,
    end_turn,
    note_cancel,
    with_answers,
)
from sluiceway.store.turns.taking_back import take_back
from sluiceway.wire.message import Part, unanswered

# How a step with tool calls left its turn.
Paused = Literal["waiting", "running", "cancelled", "fenced"]
_HISTORY = newest_of(
    "SELECT * FROM messages WHERE session_id = $1 AND sequence < $2 AND done AND NOT superseded",
    limit="$3",
    max_bytes="$4",
)
# Of those that were denied only what an outside service asked for is still here: it is told, and works on.
_APPROVED = "status = 'approval' AND approval IS NOT NULL"
# The turn waits for so many operations, if the attempt still holds it and nobody wants it to end.
_WAITS = (
    "open_operations = $3, status = CASE WHEN $3 > 0 THEN 'waiting' ELSE 'running' END"
    " WHERE id = $1 AND attempt = $2 AND status = 'running' AND cancel_requested_at IS NULL"
)
# One statement: each of its own would be a round trip between a model's call and its tool.
_WAIT_FOR_MODEL = (
    "UPDATE tasks SET status = 'waiting', retry_at = now() + make_interval(secs => $3), model_wait = $4"
    " WHERE id = $1 AND attempt = $2 AND status = 'running' AND cancel_requested_at IS NULL RETURNING id"
)
_PAUSE = (
    f"WITH let_go AS (UPDATE tasks SET usage = $4, prompt = coalesce($9, prompt), {_WAITS}"
    "   RETURNING id, session_id, user_id, message_id, traceparent),"
    " written AS (UPDATE messages m SET parts = $5,"
    "   metadata = nullif(coalesce(m.metadata, '{}') || $7::jsonb, '{}') FROM let_go t"
    "   WHERE m.session_id = t.session_id AND m.id = t.message_id),"
    f" stored AS ({insert_operations('let_go', '$6')} RETURNING place, {OPERATION_COLUMNS}),"
    f" {insert_calls('let_go', '$1', '$2', '$8')}"
    " SELECT stored.* FROM let_go LEFT JOIN stored ON true ORDER BY place"
)


@dataclass(frozen=True, slots=True)
class LetGo:
    """How a step left its turn, and the operations that are to be queued then."""

    paused: Paused
    operations: Sequence[Operation] = ()


@dataclass(frozen=True, slots=True)
class LiveTurn:
    """`active`: it is its session's turn to run. `stranded`: its session has none, though this one is queued.
    `in_the_way`: it only waits for operations, and a turn is queued behind it that need not wait for that. `age`: since
    it was accepted, by Postgres's clock."""

    task: Task
    active: bool
    stranded: bool
    age: timedelta
    in_the_way: bool = False


class TurnStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def accept(self, turn: NewTurn) -> AcceptedTurn:
        """Store the message and its task, durably, once however often it is sent.

        Raises SessionNotFound, AccessDenied, SessionBusy, MessageConflict, MessageNotFound, TooManyTasks.
        """
        async with self._pool.transaction() as connection:
            return await accept(connection, turn)

    async def get(self, task_id: str) -> Task | None:
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(f"SELECT {TASK_COLUMNS} FROM tasks WHERE id = $1", task_id)
        return task_of(row) if row is not None else None

    async def claim(self, task_id: str, *, waiting_too: bool = False) -> Task | None:
        """Raise the attempt of a live turn and run it. None: unknown. One that has ended is answered as it is, and so
        is one that waits, for operations, until its model is to be asked again, or in the background for a turn that
        continues it, unless `waiting_too` (to end it)."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(
                "UPDATE tasks SET attempt = attempt + 1, status = 'running', retry_at = NULL,"
                f" started_at = coalesce(started_at, now()) WHERE id = $1 AND {LIVE}"
                " AND ($2 OR open_operations = 0"
                "  AND (status <> 'waiting' OR background_at IS NULL AND coalesce(retry_at <= now(), true)))"
                f" RETURNING {TASK_COLUMNS}",
                task_id,
                waiting_too,
            )
        return task_of(row) if row is not None else await self.get(task_id)

    async def raise_attempt(self, task: Task) -> Task | None:
        """Raise the attempt of a turn that waits, and still waits. None: it has moved on.

        Its stream is lost: the last that outside services said of its operations is to be shown again."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(
                "WITH raised AS (UPDATE tasks SET attempt = attempt + 1"
                f"   WHERE id = $1 AND attempt = $2 AND status = 'waiting' RETURNING {TASK_COLUMNS}),"
                f" shown_again AS ({SHOW_AGAIN.format(tasks='raised')})"
                f" SELECT {TASK_COLUMNS} FROM raised",
                task.id,
                task.attempt,
            )
        return task_of(row) if row is not None else None

    async def ended_before(self, ended_at: datetime, task_id: str, since: datetime, limit: int) -> list[Task]:
        """Turns that ended, and were finalized, since then, and before that moment or at it with a smaller id; the
        latest first."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                # The second condition says little that is new, but without it the index is not used to its end.
                f"SELECT {TASK_COLUMNS} FROM tasks WHERE ended_at >= $1 AND ended_at <= $2"
                " AND (ended_at, id) < ($2, $3) AND settled_at IS NOT NULL ORDER BY ended_at DESC, id DESC LIMIT $4",
                since,
                ended_at,
                task_id,
                limit,
            )
        return [task_of(row) for row in rows]

    async def history(self, task: Task, limit: int, max_bytes: int = CONTEXT_BYTES) -> list[Message]:
        """What was said before this turn's answer, oldest first; the newest messages, as many as have room."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(_HISTORY, task.session_id, task.sequence, limit, max_bytes)
        return [message_of(row) for row in reversed(rows)]

    async def message(self, task: Task) -> Message | None:
        """The turn's assistant message, done or not."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(
                "SELECT * FROM messages WHERE session_id = $1 AND id = $2", task.session_id, task.message_id
            )
        return message_of(row) if row is not None else None

    async def continued(self, task_id: str) -> tuple[str, list[Part]] | None:
        """The message that a turn continues, by its id, and its parts from before, as they were: without what this turn
        tells of them. None: the turn began it."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(
                "SELECT m.id, m.parts, t.parts_before,"
                " ARRAY(SELECT tool_call_id FROM operations WHERE task_id = t.id) AS told FROM tasks t JOIN messages m"
                " ON m.session_id = t.session_id AND m.id = t.message_id WHERE t.id = $1 AND t.parts_before > 0",
                task_id,
            )
        if row is None:
            return None
        parts = row["parts"][: row["parts_before"]]
        return row["id"], [unanswered(part) if part.get("toolCallId") in row["told"] else part for part in parts]

    async def pause(
        self,
        task: Task,
        parts: list[Part],
        operations: Sequence[NewOperation],
        usage: dict[str, Any] | None,
        metadata: dict[str, Any] | None = None,
        calls: Sequence[ModelCall] = (),
        prompt: dict[str, Any] | None = None,
    ) -> LetGo:
        """End a step with tool calls: its parts and operations are durable, and the turn waits for those that are
        pending, and block it. None of that kind: it stays running. `metadata`: what was said of the message so far.
        `calls`: of models, by this attempt, that are not durable yet."""
        blocking = sum(one.blocks for one in operations)
        some_in_background = BACKGROUND in (metadata or {})
        async with self._pool.transaction() if some_in_background else self._pool.connection() as connection:
            if some_in_background:
                # As the end of an operation does: then what such a call came to meanwhile is not lost.
                await connection.execute("SELECT 1 FROM tasks WHERE id = $1 FOR UPDATE", task.id)
                parts = await with_answers(connection, task, parts)
            written = (usage, parts, calls_of(operations), metadata or {}, rows_of(calls), prompt)
            rows = await connection.fetch(_PAUSE, task.id, task.attempt, blocking, *written)
            if not rows:
                return await _standing(connection, task)
        stored = [operation_of(row) for row in rows if row["id"] is not None]
        return LetGo("waiting" if blocking else "running", [one for one in stored if one.status == "pending"])

    async def standing(self, task: Task) -> LetGo:
        """What became of a turn that could not be let go."""
        async with self._pool.connection() as connection:
            return await _standing(connection, task)

    async def wait_for_model(self, task: Task, wait: dict[str, Any], delay_seconds: float) -> LetGo:
        """Let a turn wait until its model is to be asked again, by Postgres's clock. `wait`: see `Task.model_wait`."""
        async with self._pool.connection() as connection:
            held = await connection.fetchval(_WAIT_FOR_MODEL, task.id, task.attempt, delay_seconds, wait)
            return LetGo("waiting") if held is not None else await _standing(connection, task)

    async def begin_approved(self, task: Task) -> LetGo:
        """Let the calls that a person has approved be run, and wait for those that block. None: it stays running."""
        async with self._pool.transaction() as connection:
            blocking = await connection.fetchval(
                f"SELECT count(*) FROM operations WHERE task_id = $1 AND {_APPROVED} AND NOT background", task.id
            )
            if not await _let_go(connection, task, blocking):
                return await _standing(connection, task)
            rows = await connection.fetch(
                "UPDATE operations SET status = CASE WHEN poll IS NULL THEN 'pending' ELSE 'accepted' END,"
                " poll = poll || jsonb_build_object('answer', approval),"
                " poll_at = CASE WHEN poll IS NOT NULL THEN now() + interval '1 minute' END,"
                " deadline_at = now() + make_interval(secs => deadline_seconds)"
                f" WHERE task_id = $1 AND {_APPROVED} RETURNING {OPERATION_COLUMNS}",
                task.id,
            )
            begun = [operation_of(row) for row in rows]
            if any(one.background for one in begun):
                await tell_started(connection, task)
            return LetGo("waiting" if blocking else "running", begun)

    async def answer(
        self, task_id: str, user_id: str | None, answers: Mapping[str, Decision | ClientOutput]
    ) -> AnswersNoted:
        """Note what a person or the client said to tool calls of a turn that asked; see approving.py."""
        async with self._pool.transaction() as connection:
            return await answer(connection, task_id, user_id, answers)

    async def asking(self, session_id: str, message_id: str) -> Task | None:
        """The newest turn that works, or worked, on a message of the session."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(
                f"SELECT {TASK_COLUMNS} FROM tasks WHERE session_id = $1 AND message_id = $2"
                " ORDER BY created_at DESC LIMIT 1",
                session_id,
                message_id,
            )
        return task_of(row) if row is not None else None

    async def end(self, task: Task, end: TurnEnd, *, attempt: int | None) -> Ended | None:
        """Write the answer and the end of a turn, and make the next queued turn of the session the active one.

        A compare-and-set: None when the turn has ended already, or (with `attempt`) when another attempt holds it.
        """
        async with self._pool.transaction() as connection:
            await connection.execute("SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE", task.session_id)
            return await end_turn(connection, task, end, attempt)

    async def steering(self, task: Task) -> str | None:
        """The turn that waits to steer this one."""
        async with self._pool.connection() as connection:
            found: str | None = await connection.fetchval(
                "SELECT id FROM tasks WHERE session_id = $1 AND sequence > $2 AND steers = $3 AND status = 'queued'"
                " ORDER BY sequence LIMIT 1",
                task.session_id,
                task.sequence,
                task.id,
            )
        return found

    async def steering_messages(self, session_id: str) -> list[str]:
        """The messages that wait to enter the turn that runs, in their order."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                "SELECT user_message_id FROM tasks WHERE session_id = $1 AND status = 'queued' AND steers IS NOT NULL"
                " AND id IS DISTINCT FROM (SELECT active_task_id FROM sessions WHERE id = $1) ORDER BY sequence",
                session_id,
            )
        return [row["user_message_id"] for row in rows]

    async def request_cancel(
        self, task_id: str, user_id: str | None, wish: EndFacts = BY_ITS_OWNER
    ) -> tuple[Task, bool]:
        """End a queued turn at once, or note the wish for one that runs, and whose it is. Answers the task as it
        stands, and whether this call ended it. Raises TaskNotFound, AccessDenied."""
        async with self._pool.transaction() as connection:
            task = await _lock_task(connection, task_id)
            check_owner(task.user_id, user_id)
            if task.status == "queued":
                await end_turn(connection, task, cancelled_unseen(wish), None)
            elif not task.ended:
                await note_cancel(connection, task.id, wish)
            row = await connection.fetchrow(f"SELECT {TASK_COLUMNS} FROM tasks WHERE id = $1", task_id)
            if row is None:
                raise TaskNotFound
            return task_of(row), task.status == "queued"

    async def take_back(self, session_id: str, user_id: str | None, message_id: str) -> Task | None:
        """Take back a message whose answer nobody has begun; see taking_back.py."""
        async with self._pool.transaction() as connection:
            return await take_back(connection, session_id, user_id, message_id)

    async def finalized(self, task_id: str) -> None:
        """Note that the effects of the end outside of Postgres are done."""
        async with self._pool.connection() as connection:
            await connection.execute("UPDATE tasks SET settled_at = now() WHERE id = $1", task_id)

    async def live(self, after_id: str, limit: int) -> list[LiveTurn]:
        """A page of live turns in order of id."""
        columns = ", ".join(f"t.{name}" for name in Task.__slots__)
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                f"SELECT {columns}, s.active_task_id = t.id AS active, t.status = 'queued' AND a.id IS NULL"
                "  AND (t.continues IS NULL OR s.approval_task_id IS NULL) AS stranded"
                ", clock_timestamp() - t.created_at AS age"
                f", {IN_THE_WAY} AS in_the_way"
                " FROM tasks t JOIN sessions s ON s.id = t.session_id"
                f" LEFT JOIN tasks a ON a.id = s.active_task_id AND a.{LIVE}"
                f" WHERE t.id > $1 AND t.{LIVE} ORDER BY t.id LIMIT $2",
                after_id,
                limit,
            )
        return [
            LiveTurn(task_of(row), bool(row["active"]), row["stranded"], row["age"], row["in_the_way"]) for row in rows
        ]

    async def unfinalized(self, older_than: timedelta, limit: int, without: Sequence[str] = ()) -> list[Task]:
        """Turns that have ended and were not finalized; the oldest first."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                f"SELECT {TASK_COLUMNS} FROM tasks WHERE settled_at IS NULL AND ended_at < now() - $1::interval"
                " AND NOT id = ANY($3::text[]) ORDER BY ended_at LIMIT $2",
                older_than,
                limit,
                without,
            )
        return [task_of(row) for row in rows]

    async def overdue(self, task_ids: Sequence[str], deadline: timedelta) -> set[str]:
        """Which of these turns were to run for so long, or did, without an end: neither an operation nor another turn
        of their session was what they waited for within that time. One that waits for its model is to run."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                "SELECT id FROM tasks t WHERE id = ANY($1::text[])"
                " AND (status IN ('queued', 'running') OR retry_at IS NOT NULL)"
                " AND created_at < now() - $2::interval AND NOT EXISTS (SELECT 1 FROM operations o"
                "  WHERE o.task_id = t.id AND o.ended_at >= now() - $2::interval)"
                " AND NOT EXISTS (SELECT 1 FROM tasks b WHERE b.session_id = t.session_id"
                "  AND b.id <> t.id AND b.ended_at >= now() - $2::interval)",
                task_ids,
                deadline,
            )
        return {row["id"] for row in rows}

    async def activate_next(self, session_id: str) -> Task | None:
        """Give a session without a live active turn its next one. The code above leaves none so; this is for what a
        restored backup or a person's hand left behind."""
        async with self._pool.transaction() as connection:
            await connection.execute("SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE", session_id)
            row = await connection.fetchrow(
                "WITH next AS (UPDATE sessions s SET active_task_id ="
                " (SELECT id FROM tasks q WHERE q.session_id = s.id AND q.status = 'queued'"
                "  AND (q.continues IS NULL OR s.approval_task_id IS NULL)"
                "  ORDER BY q.sequence LIMIT 1)"
                f" WHERE s.id = $1 AND NOT EXISTS (SELECT 1 FROM tasks a WHERE a.id = s.active_task_id AND a.{LIVE})"
                f" RETURNING active_task_id) SELECT {TASK_COLUMNS} FROM tasks JOIN next ON id = active_task_id",
                session_id,
            )
        return task_of(row) if row is not None else None


async def _let_go(connection: Connection, task: Task, pending: int) -> bool:
    """Make the turn wait for so many operations, if the attempt still holds it and nobody wants it to end."""
    held = await connection.fetchval(f"UPDATE tasks SET {_WAITS} RETURNING id", task.id, task.attempt, pending)
    return held is not None


async def _standing(connection: Connection, task: Task) -> LetGo:
    """What became of a turn that could not be let go. After a commit whose answer was lost it waits already."""
    row = await connection.fetchrow("SELECT attempt, status FROM tasks WHERE id = $1", task.id)
    if row is None or row["attempt"] != task.attempt or row["status"] not in ("running", "waiting"):
        return LetGo("fenced")
    if row["status"] == "running":
        return LetGo("cancelled")
    stored = await operations_of(connection, task.id)
    return LetGo("waiting", [one for one in stored if one.status == "pending"])


async def _lock_task(connection: Connection, task_id: str) -> Task:
    session_id = await connection.fetchval("SELECT session_id FROM tasks WHERE id = $1", task_id)
    await connection.execute("SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE", session_id)
    row = await connection.fetchrow(f"SELECT {TASK_COLUMNS} FROM tasks WHERE id = $1 FOR UPDATE", task_id)
    if row is None:
        raise TaskNotFound
    return task_of(row)
