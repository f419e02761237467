"""Branches of a conversation: what an edit or another answer replaces stays beside it, and can be gone back to.

A message names the one that it follows (`parent_id`; '' for the first). The branch that is shown are the messages that
are not `superseded`, in the order of their sequences, which grow along every branch. Models, search and pages of
history know that branch alone.

Guarantees: nothing is deleted here, and no text is changed; a session shows one branch at any time. Other branches
lose their words when they have not been shown for KEEP_SUPERSEDED_DAYS, those that were left first, the ends before
what they hang on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sluiceway.errors import MessageNotFound, SessionBusy, SessionExists, SessionNotFound
from sluiceway.ids import new_message_id
from sluiceway.store.database.pool import Connection, Pool
from sluiceway.store.records import CONTINUES, UNENDED, Session, session_of
from sluiceway.store.sessions.allowance import check_sessions, follow_one_another
from sluiceway.store.sessions.conversations import forget_compactions
from sluiceway.store.sessions.files import share_files
from sluiceway.store.sessions.sessions import check_owner
from sluiceway.store.sessions.tool_parts import change_parts
from sluiceway.store.turns.approving import take_away
from sluiceway.wire.message import Part

# As the `parent_id` of a message: it is the first.
FIRST = ""
_STILL_RUNS = "A turn of this session is still running. Its branches can be changed when it has ended."
_ELSEWHERE = "CANCELLED: It goes on in the conversation that this one was forked from."
_PLACE = "SELECT id, role, sequence, parent_id, superseded, done AND parts <> '[]' AS seen FROM messages"
# From a message back to the branch that is shown: what is not on that, and where they meet.
_UP = (
    "WITH RECURSIVE up AS (SELECT id, parent_id, sequence, superseded FROM messages WHERE session_id = $1 AND id = $2"
    "  UNION ALL SELECT m.id, m.parent_id, m.sequence, m.superseded FROM up JOIN messages m"
    "   ON m.session_id = $1 AND m.id = up.parent_id WHERE up.superseded)"
    " SELECT id, sequence, superseded FROM up"
)
# From a message to the end of its branch, the one that was shown last. What has lost its words is no way.
_DOWN = (
    "WITH RECURSIVE down AS (SELECT $2::text AS id UNION ALL SELECT c.id FROM down CROSS JOIN LATERAL"
    "  (SELECT id FROM messages WHERE session_id = $1 AND parent_id = down.id AND superseded AND done"
    "    AND (role = 'assistant' OR parts <> '[]')"
    "    ORDER BY parts = '[]', superseded_at DESC NULLS LAST, sequence DESC LIMIT 1) c)"
    " SELECT id FROM down"
)


@dataclass(frozen=True, slots=True)
class Place:
    """A message in the tree. `seen`: it is done, and has something to show."""

    id: str
    role: str
    sequence: int
    parent_id: str | None
    superseded: bool
    seen: bool


class BranchStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def show(self, session_id: str, user_id: str | None, message_id: str) -> None:
        """Show the branch of this message, to the end at which it was left. What waits for a person on another branch
        is not waited for any more.

        Raises SessionNotFound, AccessDenied, MessageNotFound, SessionBusy: a turn runs.
        """
        async with self._pool.transaction() as connection:
            if await lock_session(connection, session_id, user_id):
                raise SessionBusy(_STILL_RUNS)
            await fill_parents(connection, session_id)
            message = await place_of(connection, session_id, message_id)
            if message is None or not message.seen:
                raise MessageNotFound
            if message.superseded:
                await take_away(connection, session_id)
                behind = [row["id"] for row in await connection.fetch(_DOWN, session_id, message_id)]
                await follow(connection, session_id, message_id)
                await _show(connection, session_id, behind)

    async def fork(
        self, session_id: str, user_id: str | None, message_id: str | None, new_id: str, max_per_hour: int = 0
    ) -> tuple[Session, bool]:
        """A new session that begins with what leads to this message, and the message; None: to the last one. Whether it
        is new: the caller's own of that id is answered as it is.

        Raises SessionNotFound, AccessDenied, MessageNotFound, SessionExists, TooManySessions; SessionBusy: part of it
        is still being written.
        """
        async with self._pool.transaction() as connection:
            await follow_one_another(connection, user_id, counted=max_per_hour > 0)
            await lock_session(connection, session_id, user_id)
            known = await connection.fetchrow("SELECT * FROM sessions WHERE id = $1", new_id)
            if known is not None:
                if known["user_id"] != user_id:
                    raise SessionExists
                return session_of(known), False
            await check_sessions(connection, user_id, new_id, max_per_hour)
            await fill_parents(connection, session_id)
            last = message_id or await last_seen(connection, session_id)
            message = await place_of(connection, session_id, last) if last is not None else None
            if message is None or not message.seen:
                raise MessageNotFound
            return await _fork(connection, session_id, message, new_id), True


async def place_of(connection: Connection, session_id: str, message_id: str) -> Place | None:
    row = await connection.fetchrow(f"{_PLACE} WHERE session_id = $1 AND id = $2", session_id, message_id)
    return Place(**row) if row is not None else None


async def place_and_followed(connection: Connection, session_id: str, message_id: str) -> tuple[Place, bool] | None:
    """And whether a person's question is shown behind it: one look, as the first token of a stock client's message
    waits. What continues a turn by itself is none: a client that has not seen it means the end."""
    row = await connection.fetchrow(
        "SELECT p.*, EXISTS (SELECT 1 FROM messages q WHERE q.session_id = $1 AND q.sequence > p.sequence"
        f" AND q.role = 'user' AND NOT q.superseded AND NOT coalesce(q.metadata ? '{CONTINUES}', false)) AS followed"
        f" FROM ({_PLACE} WHERE session_id = $1 AND id = $2) p",
        session_id,
        message_id,
    )
    if row is None:
        return None
    return Place(**{name: row[name] for name in Place.__slots__}), row["followed"]


async def newest_question(connection: Connection, session_id: str) -> Place | None:
    row = await connection.fetchrow(
        f"{_PLACE} WHERE session_id = $1 AND role = 'user' AND NOT superseded ORDER BY sequence DESC LIMIT 1",
        session_id,
    )
    return Place(**row) if row is not None else None


async def end_of_exchange(connection: Connection, session_id: str, message: Place) -> str:
    """The message, or the answer to it where it is a question that has one."""
    if message.role != "user":
        return message.id
    if message.superseded:
        row = await connection.fetchrow(
            "SELECT id, role FROM messages WHERE session_id = $1 AND parent_id = $2 AND superseded"
            " ORDER BY superseded_at DESC, sequence DESC LIMIT 1",
            session_id,
            message.id,
        )
    else:
        row = await connection.fetchrow(
            "SELECT id, role FROM messages WHERE session_id = $1 AND sequence > $2 AND NOT superseded"
            " ORDER BY sequence LIMIT 1",
            session_id,
            message.sequence,
        )
    return str(row["id"]) if row is not None and row["role"] == "assistant" else message.id


async def path_to(connection: Connection, session_id: str, message_id: str) -> tuple[int, list[str]]:
    """What leads to a message, and it: all that is shown up to a sequence, and these messages that are not."""
    rows = await connection.fetch(_UP, session_id, message_id)
    meets = max((row["sequence"] for row in rows if not row["superseded"]), default=0)
    return meets, [row["id"] for row in rows if row["superseded"]]


async def follow(connection: Connection, session_id: str, message_id: str) -> None:
    """Let the branch that is shown end with this message; FIRST: let nothing be shown."""
    meets, hidden = (0, []) if message_id == FIRST else await path_to(connection, session_id, message_id)
    await forget_compactions(connection, session_id, meets)
    await connection.execute(
        "UPDATE messages SET superseded = true, superseded_at = now()"
        " WHERE session_id = $1 AND sequence > $2 AND NOT superseded",
        session_id,
        meets,
    )
    await _show(connection, session_id, hidden)


async def fill_parents(connection: Connection, session_id: str) -> None:
    """Of messages from before there were branches: an answer follows the question of its turn, a question what was
    written before it."""
    if not await connection.fetchval(
        "SELECT EXISTS (SELECT 1 FROM messages WHERE session_id = $1 AND parent_id IS NULL)", session_id
    ):
        return
    await connection.execute(
        "UPDATE messages m SET parent_id = coalesce("
        "   (SELECT t.user_message_id FROM tasks t WHERE t.session_id = $1 AND t.message_id = m.id LIMIT 1),"
        "   (SELECT b.id FROM messages b WHERE b.session_id = $1 AND b.sequence < m.sequence"
        "     ORDER BY b.sequence DESC LIMIT 1), $2)"
        " WHERE m.session_id = $1 AND m.parent_id IS NULL",
        session_id,
        FIRST,
    )


async def set_aside(connection: Connection, session_id: str, message_id: str, sequence: int) -> None:
    """Keep a question that is edited, with what hangs on it, as another message: the edited one keeps the id that
    clients know it by, at this sequence. None of them is shown."""
    kept = new_message_id()
    old = await connection.fetchval(
        "UPDATE messages m SET sequence = $3 FROM (SELECT sequence FROM messages WHERE session_id = $1 AND id = $2) old"
        " WHERE session_id = $1 AND id = $2 RETURNING old.sequence",
        session_id,
        message_id,
        sequence,
    )
    await connection.execute(
        "INSERT INTO messages (session_id, id, sequence, role, parts, metadata, done, superseded, superseded_at,"
        "   created_at, parent_id)"
        " SELECT session_id, $3, $4, role, parts, metadata, done, superseded, superseded_at, created_at, parent_id"
        " FROM messages WHERE session_id = $1 AND id = $2",
        session_id,
        message_id,
        kept,
        old,
    )
    await connection.execute(
        "UPDATE messages SET parent_id = $3 WHERE session_id = $1 AND parent_id = $2 AND superseded",
        session_id,
        message_id,
        kept,
    )
    await connection.execute(
        "UPDATE tasks SET user_message_id = $3 WHERE session_id = $1 AND user_message_id = $2",
        session_id,
        message_id,
        kept,
    )


async def lock_session(connection: Connection, session_id: str, user_id: str | None) -> bool:
    """Lock the session; whether a turn is live in it. Raises SessionNotFound, AccessDenied."""
    row = await connection.fetchrow("SELECT user_id, active_task_id FROM sessions WHERE id = $1 FOR UPDATE", session_id)
    if row is None:
        raise SessionNotFound
    check_owner(row["user_id"], user_id)
    return row["active_task_id"] is not None


async def _show(connection: Connection, session_id: str, message_ids: Sequence[str]) -> None:
    if message_ids:
        await connection.execute(
            "UPDATE messages SET superseded = false, superseded_at = NULL"
            " WHERE session_id = $1 AND id = ANY($2::text[])",
            session_id,
            message_ids,
        )


async def last_seen(connection: Connection, session_id: str) -> str | None:
    found: str | None = await connection.fetchval(
        "SELECT id FROM messages WHERE session_id = $1 AND done AND NOT superseded AND parts <> '[]'"
        " ORDER BY sequence DESC LIMIT 1",
        session_id,
    )
    return found


async def _fork(connection: Connection, session_id: str, message: Place, new_id: str) -> Session:
    """The sequences stay as they are, and with them what says where the conversation was cut."""
    meets, own = await path_to(connection, session_id, message.id)
    session = await connection.fetchrow(
        "INSERT INTO sessions (id, user_id, title, title_by_user, next_sequence, temporary)"
        " SELECT $2, user_id, title, title_by_user, next_sequence, temporary FROM sessions WHERE id = $1 RETURNING *",
        session_id,
        new_id,
    )
    copied = await connection.fetch(
        "INSERT INTO messages (session_id, id, sequence, role, parts, metadata, done, created_at, parent_id)"
        " SELECT $2, id, sequence, role, parts, metadata - 'taskId', done, created_at, parent_id FROM messages"
        " WHERE session_id = $1 AND (sequence <= $3 AND NOT superseded OR id = ANY($4::text[])) RETURNING done",
        session_id,
        new_id,
        meets,
        own,
    )
    if not all(row["done"] for row in copied):
        raise SessionBusy(_STILL_RUNS)
    await connection.execute(
        "INSERT INTO compactions (session_id, through_sequence, summary, model, usage)"
        " SELECT $2, through_sequence, summary, model, usage FROM compactions"
        " WHERE session_id = $1 AND through_sequence < $3",
        session_id,
        new_id,
        meets,
    )
    await share_files(connection, session_id, new_id)
    await _wait_no_more(connection, session_id, new_id)
    assert session is not None  # noqa: S101 - the session that it is copied from is locked
    return session_of(session)


async def _wait_no_more(connection: Connection, session_id: str, new_id: str) -> None:
    """What waits for a person waits where it was asked, and what runs in the background is awaited there."""
    waits = await connection.fetch(
        f"SELECT message_id, array_agg(tool_call_id) AS calls FROM operations WHERE session_id = $1 AND {UNENDED}"
        " GROUP BY message_id",
        session_id,
    )
    fields: Part = {"state": "output-error", "errorText": _ELSEWHERE}
    for row in waits:
        await change_parts(connection, new_id, row["message_id"], row["calls"], **fields)
