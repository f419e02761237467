"""What is known about a person: a JSON object, written by the person and by the tool `remember`; and the person's
instructions, a text that nobody else writes.

Guarantees: it has at most `MAX_FACTS` members and `MAX_BYTES` as JSON; what would be more is refused, and changes
nothing. A temporary session reads and writes nothing of what is known.
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
MAX_INSTRUCTIONS_CHARS = 2_000


@dataclass(frozen=True, slots=True)
class Understanding:
    """`facts`: by name. `updated_at`: None where nothing was ever written."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Acquaintance:
    """What a turn is told of its person. `new`: there is no other conversation, and nothing is known. `instructions`:
    what the person wants every answer to heed."""

    facts: Mapping[str, Any]
    new: bool
    instructions: str = ""


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

    async def remember(
        self, user_id: str | None, name: str, fact: Any, session_id: str | None = None
    ) -> Understanding | None:
        """One fact more, or another one under its name; None: no longer. In a session that is temporary nothing is
        written: None. Raises UnderstandingTooLarge."""
        async with self._pool.transaction() as connection:
            if session_id is not None and await connection.fetchval(
                "SELECT temporary FROM sessions WHERE id = $1", session_id
            ):
                return None
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
        """All facts. The instructions stay."""
        async with self._pool.transaction() as connection:
            await connection.execute(
                "DELETE FROM understandings WHERE user_id = $1 AND instructions = ''", user_id or ""
            )
            await connection.execute("UPDATE understandings SET facts = '{}' WHERE user_id = $1", user_id or "")

    async def instructions(self, user_id: str | None) -> str:
        async with self._pool.connection() as connection:
            text = await connection.fetchval(
                "SELECT instructions FROM understandings WHERE user_id = $1", user_id or ""
            )
        return text or ""

    async def instruct(self, user_id: str | None, text: str) -> None:
        """In place of what was said before; an empty text is none."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "INSERT INTO understandings (user_id, facts, instructions) VALUES ($1, '{}', $2)"
                " ON CONFLICT (user_id) DO UPDATE SET instructions = excluded.instructions",
                user_id or "",
                text,
            )

    async def acquaintance(self, user_id: str | None, session_id: str) -> Acquaintance:
        """What a turn of that session is told; of one that is temporary the instructions alone."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(
                "SELECT u.facts, u.instructions, coalesce(s.temporary, false) AS temporary,"
                " NOT EXISTS (SELECT 1 FROM sessions WHERE user_id = $1 AND id <> $2) AS new FROM (SELECT) one"
                " LEFT JOIN understandings u ON u.user_id = $1 LEFT JOIN sessions s ON s.id = $2",
                user_id or "",
                session_id,
            )
        if row is None:
            return Acquaintance({}, new=False)
        facts = {} if row["temporary"] else row["facts"] or {}
        new = row["new"] and user_id is not None and not facts and not row["temporary"]
        return Acquaintance(facts, new=new, instructions=row["instructions"] or "")


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
