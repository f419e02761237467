"""Accepting a turn inside a transaction: recognise a repeat, apply the policy, store the message and its task."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sluiceway.errors import AccessDenied, MessageConflict, SessionBusy, SessionNotFound, TooManyTasks
from sluiceway.ids import new_message_id, new_task_id
from sluiceway.store.database.pool import Connection
from sluiceway.store.people.usage import Budget, check_budget
from sluiceway.store.records import LIVE, TASK_COLUMNS, Task, task_of
from sluiceway.store.sessions.allowance import check_live, check_live_of_org, check_sessions, one_at_a_time
from sluiceway.store.sessions.files import attach
from sluiceway.store.sessions.sessions import check_owner
from sluiceway.store.turns.approving import take_away
from sluiceway.store.turns.background import MadeWay, make_way
from sluiceway.store.turns.branches import FIRST, follow, set_aside
from sluiceway.store.turns.ending import EndFacts, cancelled_unseen, end_turn, note_cancel
from sluiceway.store.turns.placing import Placing, place
from sluiceway.wire.file_part import file_ids
from sluiceway.wire.message import Part, text_of
from sluiceway.wire.question import Question

Policy = Literal["enqueue", "interrupt", "reject", "steer", "latest"]


@dataclass(frozen=True, slots=True)
class NewTurn:
    """A request for a turn. `question`: what it says of its message beside the text.

    `message_id`: the client's, the key under which a repeat is recognised; None: we make one. `regenerate`: answer a
    user message again: that of the answer `replaces`, or `message_id`, or the last one. `edit`: the message exists and
    gets this text. `parent_id`: the message that it is to follow; "": none; None, or one that is not known: the last.
    What is replaced by any of these stays as a branch, see branches.py. `policy`: None: it waits for the turns before
    it, but for no turn that only waits for operations, see background.py. `max_live`, `max_sessions_per_hour`: of this
    user; `max_live_of_org`: of his organisation; 0: no limit. `temporary`: a session that it begins is kept for a
    short time only. `client_tools`, `answer_format`: see `Task`. `files`: the ids of those that go with the message.
    """

    session_id: str
    user_id: str | None
    text: str
    question: Question = field(default_factory=Question)
    message_id: str | None = None
    parent_id: str | None = None
    policy: Policy | None = None
    model: str | None = None
    create_session: bool = False
    regenerate: bool = False
    replaces: str | None = None
    edit: bool = False
    max_queued: int = 20
    max_live: int = 0
    max_live_of_org: int = 0
    max_sessions_per_hour: int = 0
    budget: Budget = field(default_factory=Budget)
    traceparent: str | None = None
    client_tools: dict[str, Any] | None = None
    answer_format: dict[str, Any] | None = None
    files: tuple[str, ...] = ()
    temporary: bool = False


@dataclass(frozen=True, slots=True)
class AcceptedTurn:
    """`task` is the turn that answers the message; `created`: by this request. `position`: live turns of the session
    before it. `published`: whether Redis has it already; if not, it is stored all the same, and will be.

    `cancelled`: queued turns that an interrupt ended, or the latest message. `interrupted`: a running turn that was
    asked to end; `stopped`: such ones in the background. `made_way`: the turn that went there for this one, or for one
    that was queued before. `session_created`: the session is new, too.
    """

    task: Task
    created: bool
    position: int
    active: bool
    cancelled: list[Task] = field(default_factory=list)
    interrupted: Task | None = None
    published: bool = False
    session_created: bool = False
    stopped: Sequence[Task] = ()
    made_way: MadeWay | None = None


@dataclass(frozen=True, slots=True)
class _Room:
    """What a policy did to the turns before the new one: see `AcceptedTurn`; and which of them that is to steer."""

    cancelled: list[Task] = field(default_factory=list)
    interrupted: Task | None = None
    steers: str | None = None
    stopped: Sequence[Task] = ()
    made_way: MadeWay | None = None


async def accept(connection: Connection, turn: NewTurn) -> AcceptedTurn:
    active, asking, is_new = await _lock_session(connection, turn)
    task = await _known_turn(connection, turn)
    if task is not None:
        return AcceptedTurn(task, False, await position_of(connection, task), active == task.id)
    if asking is not None:
        await take_away(connection, turn.session_id)
    placing = await place(connection, turn)
    # No active turn, none to wait for: what most messages find is told without a look at the tasks.
    looks = active is not None or turn.policy == "interrupt"
    task_id = new_task_id()
    room = await _make_room(connection, turn, placing, task_id) if looks else _Room()
    await check_live(connection, turn.user_id, turn.max_live)
    await check_live_of_org(connection, turn.user_id, turn.max_live_of_org)
    await check_budget(connection, turn.user_id, turn.budget)
    message_id, parts = await _user_message(connection, turn, placing)
    if placing.replaces:
        room = replace(room, stopped=[*room.stopped, *await _left_behind(connection, turn.session_id, task_id)])
    task = await insert_task(connection, turn, message_id, parts, turn.question.metadata, task_id, steers=room.steers)
    if not looks:
        return AcceptedTurn(task, True, 0, True, session_created=is_new, stopped=room.stopped)
    active = await connection.fetchval("SELECT active_task_id FROM sessions WHERE id = $1", task.session_id)
    return AcceptedTurn(
        task,
        True,
        await position_of(connection, task),
        active == task.id,
        room.cancelled,
        room.interrupted,
        session_created=is_new,
        stopped=room.stopped,
        made_way=room.made_way,
    )


async def position_of(connection: Connection, task: Task) -> int:
    """How many live turns of the session come before this one. Those in the background come before nobody."""
    if task.ended:
        return 0
    return int(
        await connection.fetchval(
            f"SELECT count(*) FROM tasks WHERE session_id = $1 AND sequence < $2 AND {LIVE} AND background_at IS NULL",
            task.session_id,
            task.sequence,
        )
    )


async def _lock_session(connection: Connection, turn: NewTurn) -> tuple[str | None, str | None, bool]:
    """The session's active turn, an ended one whose calls wait for a person, and whether the session was made here.
    From here on nobody else accepts or ends one in it."""
    lock = (
        f"SELECT user_id, active_task_id, approval_task_id, {one_at_a_time('$2', '$3')} FROM sessions WHERE id = $1"
        " FOR UPDATE"
    )
    counted = turn.max_live > 0 or turn.max_sessions_per_hour > 0
    row = await connection.fetchrow(lock, turn.session_id, turn.user_id, counted)
    is_new = row is None and turn.create_session
    if is_new:
        await connection.execute(
            "INSERT INTO sessions (id, user_id, temporary) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING",
            turn.session_id,
            turn.user_id,
            turn.temporary,
        )
        row = await connection.fetchrow(lock, turn.session_id, turn.user_id, counted)
        if row is None:  # another organisation's
            raise AccessDenied
        check_owner(row["user_id"], turn.user_id)
        await check_sessions(connection, turn.user_id, turn.session_id, turn.max_sessions_per_hour)
    if row is None:
        raise SessionNotFound
    check_owner(row["user_id"], turn.user_id)
    return row["active_task_id"], row["approval_task_id"], is_new


async def _known_turn(connection: Connection, turn: NewTurn) -> Task | None:
    """The task that answers this very request already, if it was sent before."""
    if turn.regenerate:
        return await _known_regeneration(connection, turn)
    if turn.message_id is None:
        return None
    known = await connection.fetchrow(
        "SELECT parts, superseded FROM messages WHERE session_id = $1 AND id = $2", turn.session_id, turn.message_id
    )
    if known is None:
        return None
    said = (text_of(known["parts"]), tuple(file_ids(known["parts"])))
    if said != (turn.text, turn.files) or (turn.edit and known["superseded"]):
        if turn.edit:
            return None
        raise MessageConflict
    row = await connection.fetchrow(
        f"SELECT {TASK_COLUMNS} FROM tasks WHERE session_id = $1 AND user_message_id = $2"
        " ORDER BY sequence DESC, created_at DESC LIMIT 1",
        turn.session_id,
        turn.message_id,
    )
    return task_of(row) if row is not None else None


async def _known_regeneration(connection: Connection, turn: NewTurn) -> Task | None:
    """A turn that regenerates the same answer: the request was sent twice. Where the request names the answer, one that
    has completed is that turn, too: who names the old answer again does not know of the newer one."""
    row = await connection.fetchrow(
        f"SELECT {TASK_COLUMNS} FROM tasks t WHERE session_id = $1"
        f" AND ({LIVE} OR ($2::text IS NOT NULL AND status = 'completed'))"
        " AND ($3::text IS NULL OR t.user_message_id = $3) AND EXISTS"
        " (SELECT 1 FROM tasks before JOIN messages m ON m.session_id = before.session_id AND m.id = before.message_id"
        "  WHERE before.session_id = $1 AND before.user_message_id = t.user_message_id AND before.id <> t.id"
        "  AND m.superseded AND ($2::text IS NULL OR m.id = $2))"
        " ORDER BY sequence DESC LIMIT 1",
        turn.session_id,
        turn.replaces,
        turn.message_id,
    )
    return task_of(row) if row is not None else None


async def _make_room(connection: Connection, turn: NewTurn, placing: Placing, task_id: str) -> _Room:
    """Apply the policy to the turns before this one, which is to be `task_id`."""
    # Locked: a turn that begins to wait for operations now does so after this message is there, and looks for it then.
    rows = await connection.fetch(
        f"SELECT {TASK_COLUMNS} FROM tasks WHERE session_id = $1 AND {LIVE} ORDER BY sequence FOR NO KEY UPDATE",
        turn.session_id,
    )
    live = [task_of(row) for row in rows]
    line = [task for task in live if task.background_at is None]
    # Who asks for another answer, or takes back the question, does not want to wait for the old one.
    interrupt = turn.policy == "interrupt" or (turn.policy != "reject" and placing.replaces)
    if line and turn.policy == "reject":
        raise SessionBusy
    if interrupt or turn.policy == "latest":
        stopped = [task for task in live if task not in line] if turn.policy == "interrupt" else []
        why = "replacing" if placing.replaces and turn.policy != "interrupt" else turn.policy or "replacing"
        facts = {"by": why, "for": task_id}
        return await _end_for(connection, line, stopped, facts, interrupt=interrupt)
    if len(live) > turn.max_queued:
        raise TooManyTasks
    if turn.policy is None:
        return _Room(made_way=await make_way(connection, turn.session_id))
    return _Room(steers=line[-1].id if line and turn.policy == "steer" else None)


async def _end_for(
    connection: Connection, line: Sequence[Task], stopped: Sequence[Task], facts: EndFacts, *, interrupt: bool
) -> _Room:
    """End what is queued; of what runs note that it is to end, where it is to be interrupted. What was not asked for by
    a message is the place of none that waits."""
    queued = [task for task in line if task.status == "queued" and (interrupt or task.continues is None)]
    for task in queued:
        await end_turn(connection, task, cancelled_unseen(facts), None, activate_next=False)
    running = next((task for task in line if task.status != "queued"), None) if interrupt else None
    for task in [*([running] if running is not None else []), *stopped]:
        await note_cancel(connection, task.id, facts)
    return _Room(queued, running, stopped=stopped)


async def _left_behind(connection: Connection, session_id: str, task_id: str) -> list[Task]:
    """Turns in the background on a branch that is not shown any more: nobody waits for what they do."""
    rows = await connection.fetch(
        "UPDATE tasks t SET cancel_requested_at = coalesce(cancel_requested_at, now()),"
        " end_facts = coalesce(end_facts, $2) WHERE session_id = $1"
        f" AND {LIVE} AND background_at IS NOT NULL AND EXISTS (SELECT 1 FROM messages m WHERE m.session_id = $1"
        f" AND m.id = t.message_id AND m.superseded) RETURNING {TASK_COLUMNS}",
        session_id,
        {"by": "replacing", "for": task_id},
    )
    return [task_of(row) for row in rows]


async def _user_message(connection: Connection, turn: NewTurn, placing: Placing) -> tuple[str, list[Part] | None]:
    """The id of the message that is to be answered, at its place, and its parts when it is still to be stored."""
    if placing.follows is not None:
        await follow(connection, turn.session_id, placing.follows)
    if placing.answers is not None:
        return placing.answers, None
    parts: list[Part] = await attach(connection, turn.session_id, turn.user_id, turn.files)
    if turn.text or not parts:
        parts.append({"type": "text", "text": turn.text})
    if placing.edits is not None:
        await _edit(connection, turn, placing.edits, parts)
        return placing.edits, None
    return turn.message_id or new_message_id(), parts


async def _edit(connection: Connection, turn: NewTurn, message_id: str, parts: list[Part]) -> None:
    sequence = await connection.fetchval(
        "UPDATE sessions SET next_sequence = next_sequence + 1 WHERE id = $1 RETURNING next_sequence - 1",
        turn.session_id,
    )
    await set_aside(connection, turn.session_id, message_id, sequence)
    await connection.execute(
        "UPDATE messages SET parts = $3, metadata = $4, superseded = false, superseded_at = NULL, created_at = now()"
        " WHERE session_id = $1 AND id = $2",
        turn.session_id,
        message_id,
        parts,
        turn.question.metadata,
    )


async def insert_task(
    connection: Connection,
    turn: NewTurn,
    user_message_id: str,
    question: list[Part] | None,
    metadata: dict[str, Any] | None,
    task_id: str,
    *,
    steers: str | None = None,
    continues: str | None = None,
) -> Task:
    """Question, answer to be and task, in their places; active at once when no other turn of the session is, and, of
    one that no message asked for, none waits for a person.

    One statement: the first token waits for every round trip of this transaction.
    """
    row = await connection.fetchrow(
        "WITH place AS (UPDATE sessions SET next_sequence = next_sequence + 2, updated_at = now(),"
        "   active_task_id = coalesce(active_task_id,"
        "     CASE WHEN $14::text IS NULL OR approval_task_id IS NULL THEN $3 END)"
        "   WHERE id = $1 RETURNING next_sequence - 1 AS sequence),"
        " question AS (INSERT INTO messages (session_id, id, sequence, role, parts, metadata, done, parent_id)"
        "   SELECT $1, $5, sequence - 1, 'user', $8::jsonb, $9::jsonb, true, coalesce((SELECT id FROM messages"
        "    WHERE session_id = $1 AND NOT superseded ORDER BY messages.sequence DESC LIMIT 1), $13)"
        "   FROM place WHERE $8::jsonb IS NOT NULL),"
        " answer AS (INSERT INTO messages (session_id, id, sequence, role, parts, done, parent_id)"
        "   SELECT $1, $4, sequence, 'assistant', '[]', false, $5 FROM place)"
        " INSERT INTO tasks (id, session_id, user_id, user_message_id, message_id, sequence, model, traceparent,"
        "   client_tools, answer_format, steers, continues, chats_on)"
        f" SELECT $3, $1, $2, $5, $4, sequence, $6, $7, $10::jsonb, $11::json, $12, $14, $15 FROM place"
        f" RETURNING {TASK_COLUMNS}",
        turn.session_id,
        turn.user_id,
        task_id,
        new_message_id(),
        user_message_id,
        turn.model,
        turn.traceparent,
        question,
        metadata,
        turn.client_tools,
        turn.answer_format,
        steers,
        FIRST,
        continues,
        turn.policy is None,
    )
    if row is None:
        raise SessionNotFound
    return task_of(row)
