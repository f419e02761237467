"""Sessions and their messages. Every method that names a `user_id` checks the owner.

What has no owner (None) is the one person's of a gateway without users; where there are users it is nobody's.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import asyncpg

from sluiceway.errors import AccessDenied, SessionExists, SessionNotFound
from sluiceway.store.database.pool import Pool
from sluiceway.store.records import LIVE, TASK_COLUMNS, Message, Session, Task, message_of, session_of, task_of
from sluiceway.store.sessions.allowance import check_sessions, one_at_a_time
from sluiceway.store.sessions.erasing import Erasure, delete_session
from sluiceway.store.sessions.newest import EXPORT_BYTES, PAGE_BYTES, newest_of, oldest_of
from sluiceway.wire.message import Part

# Of a person, those that are told beside a page of the list.
MAX_PINNED = 100
_COLUMNS = ", ".join(Session.__slots__)
# Behind the last message of any session.
_NO_END = 2**63 - 1
_OUTPUT_FIELDS = frozenset({"output", "errorText", "preliminary"})
# Of other branches, what a message was exchanged for, or came in the place of.
_BESIDE = (
    "ARRAY(SELECT o.id FROM messages o WHERE o.session_id = $1 AND o.parent_id = m.parent_id AND o.superseded"
    " AND o.done AND o.role = m.role AND o.parts <> '[]' AND o.sequence {} m.sequence ORDER BY o.sequence)"
)
_NEWEST = newest_of(
    "SELECT m.*, t.parts_before, ARRAY(SELECT tool_call_id FROM operations WHERE task_id = t.id) AS replayed,"
    f" {_BESIDE.format('<')} AS earlier, {_BESIDE.format('>')} AS later, f.rating, f.comment"
    " FROM messages m LEFT JOIN feedback f ON f.session_id = $1 AND f.message_id = m.id"
    " LEFT JOIN tasks t ON NOT m.done AND t.session_id = $1"
    f" AND t.message_id = m.id AND t.parts_before > 0 AND t.{LIVE}"
    " WHERE m.session_id = $1 AND (m.done OR t.id IS NOT NULL) AND NOT m.superseded AND m.parts <> '[]'"
    " AND m.sequence < $2",
    limit="$3",
    max_bytes="$4",
)
_ALL_DONE = "SELECT * FROM messages WHERE session_id = $1 AND sequence > $2 AND done AND parts <> '[]'"
_OLDEST_OF_ALL = oldest_of(_ALL_DONE, limit="$3", max_bytes="$4")
_OLDEST = oldest_of(f"{_ALL_DONE} AND NOT superseded", limit="$3", max_bytes="$4")


@dataclass(frozen=True, slots=True)
class SessionCursor:
    """Where a page of sessions ended."""

    updated_at: datetime
    id: str


@dataclass(frozen=True, slots=True)
class MessagePage:
    """Messages of a session, in order. `has_more`: there are older ones. `siblings`: by the id of a message that has
    others in its place on other branches, these and itself, in the order in which they were written. `feedback`: by
    the id of an answer what its owner thinks of it, 1 or -1 and a comment."""

    messages: list[Message]
    has_more: bool
    siblings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    feedback: Mapping[str, tuple[int, str]] = field(default_factory=dict)


def check_owner(owner: str | None, user_id: str | None) -> None:
    """Raise AccessDenied when it is somebody else's."""
    if owner != user_id:
        raise AccessDenied


class SessionStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(
        self,
        session_id: str,
        user_id: str | None,
        title: str | None,
        max_per_hour: int = 0,
        *,
        temporary: bool = False,
    ) -> tuple[Session, bool]:
        """A new session, or the caller's own of that id; whether it is new. Raises SessionExists: somebody else's;
        TooManySessions."""
        async with self._pool.transaction() as connection:
            row = await connection.fetchrow(
                "INSERT INTO sessions (id, user_id, title, title_by_user, temporary)"
                " VALUES ($1, $2, $3, $3::text IS NOT NULL, $4) ON CONFLICT (id) DO NOTHING"
                f" RETURNING {_COLUMNS}, {one_at_a_time('$2', '$5')}",
                session_id,
                user_id,
                title,
                temporary,
                max_per_hour > 0,
            )
            if row is not None:
                await check_sessions(connection, user_id, session_id, max_per_hour)
                return session_of(row), True
        try:
            return await self.get(session_id, user_id), False
        except (AccessDenied, SessionNotFound):  # another organisation's is not seen
            raise SessionExists from None

    async def get(self, session_id: str, user_id: str | None) -> Session:
        """Raises SessionNotFound, AccessDenied."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM sessions WHERE id = $1", session_id)
        if row is None:
            raise SessionNotFound
        check_owner(row["user_id"], user_id)
        return session_of(row)

    async def owner(self, session_id: str) -> str | None:
        """Whose it is. Raises SessionNotFound."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow("SELECT user_id FROM sessions WHERE id = $1", session_id)
        if row is None:
            raise SessionNotFound
        return row["user_id"]  # type: ignore[no-any-return]

    async def awaits(self, session_id: str, task_id: str) -> bool:
        """Whether calls of that turn, which has ended, wait for the person."""
        async with self._pool.connection() as connection:
            asking = await connection.fetchval("SELECT approval_task_id FROM sessions WHERE id = $1", session_id)
        return bool(asking == task_id)

    async def stored_bytes(self, user_id: str) -> int:
        """What the user's messages take, as they are kept (large ones compressed)."""
        async with self._pool.connection() as connection:
            return int(
                await connection.fetchval(
                    "SELECT coalesce(sum(pg_column_size(m.parts) + coalesce(pg_column_size(m.metadata), 0)), 0)"
                    " FROM sessions s JOIN messages m ON m.session_id = s.id WHERE s.user_id = $1",
                    user_id,
                )
            )

    async def page(
        self, user_id: str | None, after: SessionCursor | None, limit: int, *, archived: bool = False
    ) -> list[Session]:
        """The caller's sessions, the one last active first; at most `limit`. None that is temporary; those that are
        archived, or those that are not."""
        # A statement for each case: with `IS NOT DISTINCT FROM`, or `$2 IS NULL OR …`, no index is used. The owner is
        # in the order, too: an index is not taken for sorted behind `IS NULL` without that.
        end = (after.updated_at, after.id) if after else ()
        own = _own(user_id)
        behind = " AND (updated_at, id) < ($3, $4)" if after else ""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                f"SELECT {_COLUMNS} FROM sessions WHERE {own}{behind} AND NOT temporary"
                f" AND archived_at IS {'NOT NULL' if archived else 'NULL'}"
                " ORDER BY user_id, updated_at DESC, id DESC LIMIT $1",
                limit,
                user_id,
                *end,
            )
        return [session_of(row) for row in rows]

    async def pinned(self, user_id: str | None) -> list[Session]:
        """The caller's pinned sessions, the one pinned last first; at most MAX_PINNED. None that is archived."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                f"SELECT {_COLUMNS} FROM sessions WHERE {_own(user_id)} AND pinned_at IS NOT NULL AND NOT temporary"
                " AND archived_at IS NULL ORDER BY user_id, pinned_at DESC, id DESC LIMIT $1",
                MAX_PINNED,
                user_id,
            )
        return [session_of(row) for row in rows]

    async def messages(
        self, session_id: str, before_sequence: int | None, limit: int, max_bytes: int = PAGE_BYTES
    ) -> MessagePage:
        """The newest messages before that sequence, as many as have room. What a live turn says is in its stream, not
        here: a message that it goes on with is as it was when the turn began."""
        async with self._pool.connection() as connection:
            before = before_sequence if before_sequence is not None else _NO_END
            rows = await connection.fetch(_NEWEST, session_id, before, limit, max_bytes)
        has_more = bool(rows) and rows[0]["found"] > len(rows)
        siblings = {row["id"]: [*row["earlier"], row["id"], *row["later"]] for row in rows}
        several = {message_id: ids for message_id, ids in siblings.items() if len(ids) > 1}
        feedback = {row["id"]: (row["rating"], row["comment"]) for row in rows if row["rating"] is not None}
        return MessagePage([_as_listed(row) for row in reversed(rows)], has_more, several, feedback)

    async def messages_after(
        self, session_id: str, sequence: int, limit: int = 20, *, all_branches: bool = False
    ) -> list[Message]:
        """The messages behind that sequence, in order, that are done: as many as have room in EXPORT_BYTES, and one
        in any case."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                _OLDEST_OF_ALL if all_branches else _OLDEST, session_id, sequence, limit, EXPORT_BYTES
            )
        return [message_of(row) for row in rows]

    async def active_task(self, session_id: str) -> Task | None:
        """The turn that runs or is next to run."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(
                f"SELECT {TASK_COLUMNS} FROM tasks WHERE id = (SELECT active_task_id FROM sessions WHERE id = $1)",
                session_id,
            )
        return task_of(row) if row is not None else None

    async def ended_task(self, session_id: str, within: timedelta) -> str | None:
        """The last turn, when it ended so short a time ago, and by itself: nobody waits for one that was stopped. Not
        where another branch is shown."""
        async with self._pool.connection() as connection:
            task_id: str | None = await connection.fetchval(
                "SELECT CASE WHEN ended_at > now() - $2::interval AND status <> 'cancelled' AND NOT EXISTS"
                " (SELECT 1 FROM messages m WHERE m.session_id = $1 AND m.id = t.message_id AND m.superseded)"
                " THEN id END FROM tasks t WHERE session_id = $1 ORDER BY sequence DESC, created_at DESC LIMIT 1",
                session_id,
                within,
            )
        return task_id

    async def change(
        self,
        session_id: str,
        user_id: str | None,
        *,
        title: str | None = None,
        pinned: bool | None = None,
        archived: bool | None = None,
    ) -> Session:
        """Give it this title, pin it or let it go, put it out of the list or back; what is None stays. One that is
        pinned already keeps its place."""
        await self.get(session_id, user_id)
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(
                "UPDATE sessions SET title = coalesce($2::text, title),"
                " title_by_user = title_by_user OR $2 IS NOT NULL, pinned_at = CASE"
                " WHEN $3::bool THEN coalesce(pinned_at, now()) WHEN NOT $3 THEN NULL ELSE pinned_at END,"
                " archived_at = CASE"
                " WHEN $4::bool THEN coalesce(archived_at, now()) WHEN NOT $4 THEN NULL ELSE archived_at END"
                f" WHERE id = $1 RETURNING {_COLUMNS}",
                session_id,
                title,
                pinned,
                archived,
            )
        if row is None:
            raise SessionNotFound
        return session_of(row)

    async def delete(self, session_id: str, user_id: str | None) -> list[Erasure]:
        """Delete the session with all that is in it; what is to be erased outside of Postgres then, see erasing.py.

        Raises SessionNotFound, AccessDenied.
        """
        async with self._pool.transaction() as connection:
            row = await connection.fetchrow("SELECT user_id FROM sessions WHERE id = $1 FOR UPDATE", session_id)
            if row is None:
                raise SessionNotFound
            check_owner(row["user_id"], user_id)
            return await delete_session(connection, session_id)

    async def claim(self, session_id: str, user_id: str, before: str | None) -> Session:
        """Make a session of `before` the user's own. Raises AccessDenied when it is another's."""
        async with self._pool.transaction() as connection:
            row = await connection.fetchrow(
                "UPDATE sessions SET user_id = $2 WHERE id = $1 AND (user_id = $2 OR user_id IS NOT DISTINCT FROM $3)"
                f" RETURNING {_COLUMNS}",
                session_id,
                user_id,
                before,
            )
            if row is not None:
                await connection.execute("UPDATE tasks SET user_id = $2 WHERE session_id = $1", session_id, user_id)
                await connection.execute(
                    "UPDATE files SET user_id = $2 WHERE id IN"
                    " (SELECT file_id FROM file_sessions WHERE session_id = $1)",
                    session_id,
                    user_id,
                )
                return session_of(row)
        await self.get(session_id, user_id)
        raise SessionNotFound

    async def task_ids(self, session_id: str) -> list[str]:
        """All turns of a session, in no order."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch("SELECT id FROM tasks WHERE session_id = $1", session_id)
        return [row["id"] for row in rows]


def _own(user_id: str | None) -> str:
    """That a session is that person's, who is parameter 2: `IS NOT DISTINCT FROM` would use no index."""
    return "user_id = $2" if user_id is not None else "user_id IS NULL AND $2::text IS NULL"


def _as_listed(row: asyncpg.Record) -> Message:
    """A message that a live turn continues is as a client needs it to follow that turn, whose stream tells the outputs
    of the answered calls again.

    The AI SDK adds a stream to a message only if a call there has this state; else it begins an empty one, in which the
    calls are unknown, and fails.
    """
    message = message_of(row)
    if row["done"]:
        return message
    parts = message.parts[: row["parts_before"]]
    return replace(message, parts=[_waiting_for_output(part, row["replayed"]) for part in parts])


def _waiting_for_output(part: Part, replayed: Collection[str]) -> Part:
    if part.get("toolCallId") not in replayed:
        return part
    kept = {name: value for name, value in part.items() if name not in _OUTPUT_FIELDS}
    approval = part.get("approval") or {"id": part["toolCallId"], "approved": True}
    return kept | {"state": "approval-responded", "approval": approval}
