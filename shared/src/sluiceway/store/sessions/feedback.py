"""What people think of answers: a thumb up or down for each, with a word of their own where they like.

Guarantees: one row an answer, of the owner of its session alone; said again it replaces what was said. It goes with its
message, and with the words of a branch that has lost them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sluiceway.errors import MessageNotFound, SessionNotFound
from sluiceway.store.database.pool import Connection, Pool
from sluiceway.store.sessions.sessions import check_owner

Rating = Literal["up", "down"]
_STORED: Mapping[Rating, int] = {"up": 1, "down": -1}
# What operators look at: the newest, with what answered. An index gives the order.
_NEWEST = (
    "SELECT f.session_id, f.message_id, f.rating, f.comment, f.given_at, s.user_id, m.metadata->>'taskId' AS task_id,"
    " f.model FROM feedback f JOIN sessions s ON s.id = f.session_id"
    " JOIN messages m ON m.session_id = f.session_id AND m.id = f.message_id"
    " WHERE f.given_at > now() - $1::interval AND f.rating = ANY($2::smallint[]) ORDER BY f.given_at DESC LIMIT $3"
)
_SUMS = (
    "SELECT model, count(*) FILTER (WHERE rating > 0) AS up, count(*) FILTER (WHERE rating < 0) AS down FROM feedback"
    " WHERE given_at > now() - $1::interval GROUP BY model ORDER BY count(*) DESC, model LIMIT 100"
)


@dataclass(frozen=True, slots=True)
class GivenFeedback:
    """With what answered, as far as that is known."""

    session_id: str
    message_id: str
    user_id: str | None
    task_id: str | None
    model: str | None
    rating: Rating
    comment: str
    given_at: datetime


@dataclass(frozen=True, slots=True)
class FeedbackSum:
    model: str | None
    up: int
    down: int


class FeedbackStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def give(self, session_id: str, user_id: str | None, message_id: str, rating: Rating, comment: str) -> None:
        """Raises SessionNotFound, AccessDenied, MessageNotFound: there is no such answer that is done."""
        async with self._pool.transaction() as connection:
            await _check_session(connection, session_id, user_id)
            given = await connection.fetchval(
                "INSERT INTO feedback (session_id, message_id, rating, comment, model)"
                " SELECT session_id, id, $3, $4, metadata->>'model'"
                " FROM messages WHERE session_id = $1 AND id = $2 AND role = 'assistant' AND done"
                " ON CONFLICT (session_id, message_id) DO UPDATE"
                " SET rating = EXCLUDED.rating, comment = EXCLUDED.comment, model = EXCLUDED.model, given_at = now()"
                " RETURNING true",
                session_id,
                message_id,
                _STORED[rating],
                comment,
            )
        if not given:
            raise MessageNotFound

    async def take_back(self, session_id: str, user_id: str | None, message_id: str) -> None:
        """Raises SessionNotFound, AccessDenied."""
        async with self._pool.transaction() as connection:
            await _check_session(connection, session_id, user_id)
            await connection.execute(
                "DELETE FROM feedback WHERE session_id = $1 AND message_id = $2", session_id, message_id
            )

    async def newest(self, within: timedelta, ratings: tuple[Rating, ...], limit: int) -> list[GivenFeedback]:
        wanted = [_STORED[rating] for rating in ratings]
        async with self._pool.connection() as connection:
            rows = await connection.fetch(_NEWEST, within, wanted, limit)
        return [GivenFeedback(**{**dict(row), "rating": rating_of(row["rating"])}) for row in rows]

    async def sums(self, within: timedelta) -> list[FeedbackSum]:
        """By the model that answered."""
        async with self._pool.connection() as connection:
            return [FeedbackSum(**dict(row)) for row in await connection.fetch(_SUMS, within)]


def rating_of(stored: int) -> Rating:
    return "up" if stored > 0 else "down"


async def _check_session(connection: Connection, session_id: str, user_id: str | None) -> None:
    row = await connection.fetchrow("SELECT user_id FROM sessions WHERE id = $1", session_id)
    if row is None:
        raise SessionNotFound
    check_owner(row["user_id"], user_id)
