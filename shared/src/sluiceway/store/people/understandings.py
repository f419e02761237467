"""What is known about a person: a JSON object, written by the person and by the tool `remember`.

Guarantees: it has at most `MAX_FACTS` members and `MAX_BYTES` as JSON; what would be more is refused, and changes
nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sluiceway.errors import UnderstandingTooLarge
from sluiceway.store.database.pool import Connection, Pool
from sluiceway.wire.json_values import encode_json

MAX_BYTES = 16_384
MAX_FACTS = 100


@dataclass(frozen=True, slots=True)
class Understanding:
    """`facts`: by name. `updated_at`: None where nothing was ever written."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Acquaintance:
    """What a turn is told of its person. `new`: there is no other conversation, and nothing is known."""

    facts: Mapping[str, Any]
    new: bool


class UnderstandingStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def get(self, user_id: str | None) -> Understanding:
        async with self._pool.connection() as connection:
            return await _read(connection, user_id)

    async def put(self, user_id: str | None, facts: Mapping[str, Any]) -> Understanding:
        """In place of what was known. Raises UnderstandingTooLarge."""
        _check(facts)
        async with self._pool.connection() as connection:
            return await _write(connection, user_id, facts)

    async def remember(self, user_id: str | None, name: str, fact: Any) -> Understanding:
        """One fact more, or another one under its name; None: no longer. Raises UnderstandingTooLarge."""
        async with self._pool.transaction() as connection:
            # The row is there before it is read, so that of two at once neither is lost.
            await connection.execute(
                "INSERT INTO understandings (user_id, facts) VALUES ($1, '{}') ON CONFLICT (user_id) DO NOTHING",
                user_id or "",
            )
            await connection.execute("SELECT 1 FROM understandings WHERE user_id = $1 FOR UPDATE", user_id or "")
            known = (await _read(connection, user_id)).facts
            facts = {**known, name: fact} if fact is not None else {key: known[key] for key in known if key != name}
            _check(facts)
            return await _write(connection, user_id, facts)

    async def forget(self, user_id: str | None) -> None:
        async with self._pool.connection() as connection:
            await connection.execute("DELETE FROM understandings WHERE user_id = $1", user_id or "")

    async def acquaintance(self, user_id: str | None, session_id: str) -> Acquaintance:
        """What a turn of that session is told."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(
                "SELECT (SELECT facts FROM understandings WHERE user_id = $1) AS facts,"
                " NOT EXISTS (SELECT 1 FROM sessions WHERE user_id = $1 AND id <> $2) AS new",
                user_id or "",
                session_id,
            )
        facts = row["facts"] if row is not None and row["facts"] is not None else {}
        return Acquaintance(facts, new=bool(row and row["new"] and user_id is not None and not facts))


async def _read(connection: Connection, user_id: str | None) -> Understanding:
    row = await connection.fetchrow("SELECT facts, updated_at FROM understandings WHERE user_id = $1", user_id or "")
    return Understanding(row["facts"], row["updated_at"]) if row is not None else Understanding()


async def _write(connection: Connection, user_id: str | None, facts: Mapping[str, Any]) -> Understanding:
    row = await connection.fetchrow(
        "INSERT INTO understandings (user_id, facts) VALUES ($1, $2) ON CONFLICT (user_id)"
        " DO UPDATE SET facts = excluded.facts, updated_at = now() RETURNING facts, updated_at",
        user_id or "",
        dict(facts),
    )
    return Understanding(row["facts"], row["updated_at"]) if row is not None else Understanding()


def _check(facts: Mapping[str, Any]) -> None:
    if len(facts) > MAX_FACTS or len(encode_json(dict(facts))) > MAX_BYTES:
        raise UnderstandingTooLarge(max_bytes=MAX_BYTES, max_facts=MAX_FACTS)
