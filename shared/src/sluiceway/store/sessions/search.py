"""Search over a person's titles and messages: words as they are written, or without their accents, in any language, the
last one perhaps begun; of scripts without spaces any part.

Guarantees: what is found is the caller's own, in no temporary session, and part of the conversation as it is. A query
is never an error: `"two words"`, `-without` and `or` mean what they do in search engines, and what means nothing finds
nothing.
Not guaranteed: that a phrase, or what is written without spaces, is found behind the 16,383 words that Postgres counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sluiceway.store.database.pool import Connection, Pool
from sluiceway.store.records import Session, session_of

# Between the characters of scripts without spaces, of which each is a word; nobody sees it.
_MARK = "\x01"
_COLUMNS = ", ".join(Session.__slots__)
_SNIPPET = 'StartSel="", StopSel="", MaxWords=30, MinWords=12, ShortWord=0, MaxFragments=1'


@dataclass(frozen=True, slots=True)
class FoundMessage:
    """`snippet`: the words around what was found, as plain text."""

    session_id: str
    session_title: str | None
    message_id: str
    role: str
    sequence: int
    created_at: datetime
    snippet: str


@dataclass(frozen=True, slots=True)
class Found:
    sessions: Sequence[Session] = ()
    messages: Sequence[FoundMessage] = ()


class SearchStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, user_id: str | None, text: str, limit: int) -> Found:
        """Sessions by their titles, and messages, the newest first; at most so many of each."""
        own = "s.user_id = $2" if user_id is not None else "s.user_id IS NULL AND $2::text IS NULL"
        own += " AND NOT s.temporary"
        async with self._pool.connection() as connection:
            query = await _query(connection, text)
            if query is None:
                return Found()
            sessions = await connection.fetch(
                f"SELECT {_COLUMNS} FROM sessions s WHERE {own}"
                " AND words_of(translate(coalesce(title, ''), '<>', '  ')) @@ $1::text::tsquery"
                " ORDER BY user_id, updated_at DESC, id DESC LIMIT $3",
                query,
                user_id,
                limit,
            )
            messages = await connection.fetch(
                "SELECT f.session_id, f.title AS session_title, f.id AS message_id, f.role, f.sequence, f.created_at,"
                " translate(ts_headline('simple', spread_text(text_of_parts(f.parts), $4), $1::text::tsquery,"
                f"  '{_SNIPPET}'), $4, '') AS snippet FROM"
                " (SELECT m.session_id, s.title, m.id, m.role, m.sequence, m.created_at, m.parts FROM message_words w"
                "  JOIN messages m ON m.session_id = w.session_id AND m.id = w.message_id"
                f"  JOIN sessions s ON s.id = w.session_id WHERE w.words @@ $1::text::tsquery AND {own}"
                "  AND NOT m.superseded ORDER BY m.created_at DESC, m.sequence DESC LIMIT $3) f"
                " ORDER BY f.created_at DESC, f.sequence DESC",
                query,
                user_id,
                limit,
                _MARK,
            )
        found = [FoundMessage(**{name: row[name] for name in FoundMessage.__slots__}) for row in messages]
        return Found([session_of(row) for row in sessions], found)


async def _query(connection: Connection, text: str) -> str | None:
    """As Postgres writes it, with the last word taken for a beginning; None where it has no word."""
    query: str = await connection.fetchval("SELECT websearch_to_tsquery('simple', spread_text($1))::text", text)
    if not query:
        return None
    return f"{query}:*" if query.endswith("'") else query
