"""Ending a turn inside a transaction: shared by its end, its cancellation and an interrupt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sluiceway.store.database.pool import Connection
from sluiceway.store.people.usage import ModelCall, charge
from sluiceway.store.records import ASKS, LIVE, UNENDED, Task
from sluiceway.store.turns.approving import take_away
from sluiceway.wire.message import Part, calls_in, is_answered
from sluiceway.wire.task import EndStatus

# Calls wait for a person or the client, and none has been approved yet.
_ASKS = (
    f"EXISTS (SELECT 1 FROM operations WHERE task_id = $1 AND {ASKS})"
    " AND NOT EXISTS (SELECT 1 FROM operations WHERE task_id = $1 AND status = 'approval' AND approval IS NOT NULL)"
)
# Where a person is waited for ($3), no turn that nobody asked for takes the question away.
_NEXT = (
    "UPDATE sessions SET updated_at = now(), active_task_id ="
    " (SELECT id FROM tasks WHERE session_id = $1 AND status = 'queued' AND (continues IS NULL OR NOT $3)"
    "  ORDER BY sequence LIMIT 1)"
    " WHERE id = $1 AND active_task_id = $2 RETURNING active_task_id"
)


# Why a turn ended, for operators alone: `by` whom, or what failed where. No word of the conversation.
EndFacts = Mapping[str, str | int]
BY_ITS_OWNER: EndFacts = {"by": "owner"}


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """How a turn ended: what is written to its message and its task. `awaits`: calls of it wait for a person or for
    the client, whose answer will continue the message in a turn of its own. Parts or metadata that are None: the
    message keeps its own. `calls`: what the attempt asked of models and is not durable yet; `prompt`: with which
    system prompt. `gives_way`: to the turn of that id, which steers this one; where it waits no more, nothing ends.
    `facts`: None keeps those of a wish that it ends."""

    status: EndStatus
    parts: list[Part] | None
    metadata: dict[str, Any] | None
    error: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    awaits: bool = False
    calls: Sequence[ModelCall] = ()
    prompt: dict[str, Any] | None = None
    gives_way: str | None = None
    facts: EndFacts | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """An end that was written by this call. `seconds`: since the turn was accepted. `user_id`: whose it is by now: it
    may have been claimed while it ran. `following`: the turn that became the session's active one by it."""

    seconds: float
    user_id: str | None
    following: str | None = None


def cancelled_unseen(facts: EndFacts) -> TurnEnd:
    """Of a turn that nobody had begun."""
    return TurnEnd(status="cancelled", parts=[], metadata={"status": "cancelled"}, facts=facts)


async def end_turn(
    connection: Connection, task: Task, end: TurnEnd, attempt: int | None, *, activate_next: bool = True
) -> Ended | None:
    """Write the answer and the status. The caller holds the session's row. None: it has ended, or is another's."""
    ended = await connection.fetchrow(
        f"UPDATE tasks SET status = $2, error = $3, usage = coalesce($4, usage), prompt = coalesce($7, prompt),"
        " ended_at = now(), open_operations = 0, end_facts = coalesce($9, end_facts)"
        f" WHERE id = $1 AND {LIVE} AND ($5::integer IS NULL OR attempt = $5) AND (NOT $6 OR {_ASKS})"
        " AND ($8::text IS NULL"
        "   OR EXISTS (SELECT 1 FROM tasks WHERE id = $8 AND steers = $1 AND status = 'queued'))"
        " RETURNING extract(epoch FROM now() - created_at)::float AS seconds, user_id",
        task.id,
        end.status,
        end.error,
        end.usage,
        attempt,
        end.awaits,
        end.prompt,
        end.gives_way,
        end.facts,
    )
    if ended is None:
        return None
    await connection.execute(
        "UPDATE messages SET parts = coalesce($3, parts), metadata = coalesce($4, metadata), done = true"
        " WHERE session_id = $1 AND id = $2",
        task.session_id,
        task.message_id,
        None if end.parts is None else await with_answers(connection, task, end.parts),
        end.metadata,
    )
    if end.status != "completed":
        await connection.execute(
            f"UPDATE operations SET status = 'cancelled', ended_at = now() WHERE task_id = $1 AND {UNENDED}",
            task.id,
        )
    if end.gives_way is not None:
        await connection.execute("UPDATE tasks SET entered = true WHERE id = $1", end.gives_way)
    await charge(connection, task, end.calls)
    if activate_next:
        following = await connection.fetchval(_NEXT, task.session_id, task.id, end.awaits)
        if end.awaits:
            await _await_person(connection, task, following)
        return Ended(ended["seconds"], ended["user_id"], following)
    await connection.execute(
        "UPDATE sessions SET active_task_id = NULL WHERE id = $1 AND active_task_id = $2", task.session_id, task.id
    )
    return Ended(ended["seconds"], ended["user_id"])


async def with_answers(connection: Connection, task: Task, parts: list[Part]) -> list[Part]:
    """The parts, with what Postgres knows of their calls: an answer that came meanwhile, and why one was denied."""
    calls = calls_in(parts)
    if not calls:
        return parts
    stored: list[Part] = await connection.fetchval(
        "SELECT parts FROM messages WHERE session_id = $1 AND id = $2 FOR UPDATE", task.session_id, task.message_id
    )
    known = {call_id: part for call_id, part in calls_in(stored or []).items() if is_answered(part)}
    return [known.get(part.get("toolCallId", ""), part) for part in parts]


async def _await_person(connection: Connection, task: Task, following: str | None) -> None:
    """A turn that follows at once does not wait for a person's answer to this one."""
    if following is not None:
        await take_away(connection, task.session_id)
    else:
        await connection.execute("UPDATE sessions SET approval_task_id = $2 WHERE id = $1", task.session_id, task.id)


async def note_cancel(connection: Connection, task_id: str, facts: EndFacts) -> None:
    """Who wanted it first is kept."""
    await connection.execute(
        "UPDATE tasks SET cancel_requested_at = coalesce(cancel_requested_at, now()),"
        " end_facts = coalesce(end_facts, $2) WHERE id = $1",
        task_id,
        facts,
    )
