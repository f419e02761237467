"""Links by which others may read a conversation, without being anybody here.

Guarantees: a link shows what led to one message, as it stood when it was shared, and nothing that was said, edited or
answered after that; whoever does not have its token (256 random bits) finds nothing. A session has one link at a time,
which goes with the session. Revoked, it never opens again: the next one has another token.
"""

import secrets
from dataclasses import dataclass, replace
from datetime import datetime

from sluiceway.errors import MessageNotFound, SessionNotFound, ShareNotFound
from sluiceway.store.database.pool import Connection, Pool
from sluiceway.store.records import Message, message_of
from sluiceway.store.sessions.newest import PAGE_BYTES, newest_of
from sluiceway.store.sessions.sessions import check_owner
from sluiceway.store.turns.branches import fill_parents, last_seen, lock_session, path_to

_COLUMNS = "session_id, token, message_id, shared_at"
# The path to a message; that message itself also while a turn goes on with it.
_PATH = newest_of(
    "SELECT * FROM messages m WHERE session_id = $1 AND (done OR id = $2) AND parts <> '[]' AND sequence < $5"
    " AND (sequence <= $3 AND NOT superseded OR id = ANY($4::text[]))",
    limit="$6",
    max_bytes="$7",
)
_NO_END = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Share:
    session_id: str
    token: str
    message_id: str
    shared_at: datetime


@dataclass(frozen=True, slots=True)
class SharedPage:
    """In order. `has_more`: there are older messages."""

    title: str | None
    shared_at: datetime
    messages: list[Message]
    has_more: bool


class ShareStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def share(self, session_id: str, user_id: str | None) -> Share:
        """A link to the session as it stands now; the one that there is comes to show that.

        Raises SessionNotFound, AccessDenied; MessageNotFound: nothing was said yet.
        """
        async with self._pool.transaction() as connection:
            await lock_session(connection, session_id, user_id)
            await fill_parents(connection, session_id)
            message_id = await last_seen(connection, session_id)
            if message_id is None:
                raise MessageNotFound("There is nothing to share yet.")
            row = await connection.fetchrow(
                "INSERT INTO shares (session_id, token, message_id, parts)"
                " SELECT session_id, $3, id, jsonb_array_length(parts) FROM messages WHERE session_id = $1 AND id = $2"
                " ON CONFLICT (session_id) DO UPDATE"
                " SET message_id = EXCLUDED.message_id, parts = EXCLUDED.parts, shared_at = now()"
                f" RETURNING {_COLUMNS}",
                session_id,
                message_id,
                secrets.token_urlsafe(32),
            )
        assert row is not None  # noqa: S101 - its message is there, and the session is locked
        return Share(**dict(row))

    async def get(self, session_id: str, user_id: str | None) -> Share:
        """Raises SessionNotFound, AccessDenied, ShareNotFound."""
        async with self._pool.connection() as connection:
            await _check_session(connection, session_id, user_id)
            row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM shares WHERE session_id = $1", session_id)
        if row is None:
            raise ShareNotFound
        return Share(**dict(row))

    async def revoke(self, session_id: str, user_id: str | None) -> None:
        """Raises SessionNotFound, AccessDenied."""
        async with self._pool.transaction() as connection:
            await _check_session(connection, session_id, user_id)
            await connection.execute("DELETE FROM shares WHERE session_id = $1", session_id)

    async def read(
        self, token: str, before_sequence: int | None, limit: int, max_bytes: int = PAGE_BYTES
    ) -> SharedPage:
        """The newest messages before that sequence, as many as have room. Raises ShareNotFound."""
        async with self._pool.transaction() as connection:
            share = await connection.fetchrow(
                "SELECT h.session_id, h.message_id, h.parts, h.shared_at, s.title FROM shares h"
                " JOIN sessions s ON s.id = h.session_id WHERE h.token = $1",
                token,
            )
            if share is None:
                raise ShareNotFound
            session_id, message_id = share["session_id"], share["message_id"]
            meets, own = await path_to(connection, session_id, message_id)
            before = before_sequence if before_sequence is not None else _NO_END
            rows = await connection.fetch(_PATH, session_id, message_id, meets, own, before, limit, max_bytes)
        messages = [message_of(row) for row in reversed(rows)]
        # A turn that went on with the last message has added to it since.
        shown = [replace(one, parts=one.parts[: share["parts"]]) if one.id == message_id else one for one in messages]
        return SharedPage(share["title"], share["shared_at"], shown, bool(rows) and rows[0]["found"] > len(rows))


async def _check_session(connection: Connection, session_id: str, user_id: str | None) -> None:
    row = await connection.fetchrow("SELECT user_id FROM sessions WHERE id = $1", session_id)
    if row is None:
        raise SessionNotFound
    check_owner(row["user_id"], user_id)
