"""All that is stored of one person: read page by page, or deleted batch by batch, with a receipt.

Guarantees: an export has every session that was there when it began and is there when it comes to it, whole; nothing
is held open between two pages. Erasing is idempotent: what broke off is finished by asking again. A receipt has numbers
and a digest of the person's name, and no word of his.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from sluiceway.ids import new_receipt_id
from sluiceway.store.database.pool import Connection, Pool
from sluiceway.store.sessions.erasing import Erasure, delete_session

# Rows of one read. A message may be large, and a result is one by one.
_SESSIONS, _MESSAGES, _TURNS, _RESULTS = 100, 4, 100, 1
_ERASED_AT_ONCE = 20
_COUNTED = {
    "messages": "messages WHERE session_id = ANY($1)",
    "turns": "tasks WHERE session_id = ANY($1)",
    "operations": "operations WHERE session_id = ANY($1)",
    # Those that no other session has: the others go with that.
    "files": (
        "(SELECT DISTINCT file_id FROM file_sessions s WHERE session_id = ANY($1) AND NOT EXISTS"
        " (SELECT 1 FROM file_sessions o WHERE o.file_id = s.file_id AND NOT o.session_id = ANY($1))) AS theirs"
    ),
    "webhooks": "webhook_journal w JOIN operations o ON o.id = w.operation_id WHERE o.session_id = ANY($1)",
    "dead_letters": "dead_letters d JOIN tasks t ON t.id = d.task_id WHERE t.session_id = ANY($1)",
    "parked_completions": (
        "parked_completions WHERE task_id IN (SELECT id FROM tasks WHERE session_id = ANY($1))"
        " OR operation_id IN (SELECT id FROM operations WHERE session_id = ANY($1))"
    ),
}
_COUNT = "SELECT " + ", ".join(f"(SELECT count(*) FROM {what}) AS {name}" for name, what in _COUNTED.items())
# What an export has of each row, by the name of its kind: table, columns, and the order that pages follow.
_OF_SESSION: Mapping[str, tuple[str, str, str, int]] = {
    "message": (
        "messages",
        "session_id, id, sequence, role, parts, metadata, parent_id, superseded, created_at",
        "sequence",
        _MESSAGES,
    ),
    "turn": (
        "tasks",
        (
            "session_id, id, user_message_id, message_id, status, model, error, usage, prompt, client_tools,"
            " answer_format, created_at, ended_at"
        ),
        "id",
        _TURNS,
    ),
    "operation": (
        "operations",
        "session_id, task_id, id, tool_call_id, tool_name, input, status, approval, output, error, ended_at",
        "place",
        _RESULTS,
    ),
    "file": (
        (
            "(SELECT s.session_id, f.id, f.name, f.media_type, f.size, f.sha256, f.created_at FROM file_sessions s"
            " JOIN files f ON f.id = s.file_id) AS theirs"
        ),
        "session_id, id, name, media_type, size, sha256, created_at",
        "id",
        _TURNS,
    ),
    "feedback": ("feedback", "session_id, message_id, rating, comment, model, given_at", "message_id", _TURNS),
    "share": ("shares", "session_id, message_id, shared_at", "session_id", _TURNS),
    "notes": ("compactions", "session_id, through_sequence, summary, model, created_at", "through_sequence", _TURNS),
}
_WEBHOOKS = (
    "SELECT w.operation_id, w.webhook_id, w.kind, w.body, w.outcome, w.received_at, w.id AS page FROM webhook_journal w"
    " JOIN operations o ON o.id = w.operation_id WHERE o.session_id = $1 AND w.id > $2 ORDER BY w.id LIMIT 1"
)

# What is kept of a person beside his sessions.
_BESIDE_SESSIONS = {
    "file": (
        "SELECT id, name, media_type, size, sha256, created_at FROM files WHERE user_id = $1 AND session_id IS NULL"
        " AND stored_at IS NOT NULL ORDER BY id"
    ),
    "understanding": "SELECT facts, instructions, updated_at FROM understandings WHERE user_id = $1",
    "usage": (
        "SELECT day::text AS day, model, sum(calls)::bigint AS calls, sum(input_tokens)::bigint AS input_tokens,"
        " sum(output_tokens)::bigint AS output_tokens, sum(cost) AS cost FROM usage_days WHERE user_id = $1"
        " GROUP BY day, model ORDER BY day, model"
    ),
}
# Not today's sums: erasing gives nobody his budget back.
_FORGET = (
    "DELETE FROM understandings WHERE user_id = $1",
    "DELETE FROM files WHERE user_id = $1",
    "DELETE FROM usage_days WHERE user_id = $1 AND day < (now() AT TIME ZONE 'UTC')::date",
)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ErasureReceipt:
    """`person`: the SHA-256 of his name. `erased_by`: `self`, or the name of an operator's key."""

    id: str
    person: str
    erased_by: str
    counts: dict[str, int]
    erased_at: datetime


@dataclass(frozen=True, slots=True)
class ErasedBatch:
    counts: Counter[str]
    erasures: list[Erasure]


class PeopleStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def export(self, user_id: str | None) -> AsyncIterator[Row]:
        """Everything, as rows with their `kind`: each session, then its messages, turns, operations and webhooks; at
        the end what is known about the person, and what he has used."""
        after = ""
        while True:
            page = await self._sessions(user_id, after)
            for session in page:
                yield {"kind": "session", **session}
                async for row in self._of_session(session["id"]):
                    yield row
            if len(page) < _SESSIONS:
                break
            after = page[-1]["id"]
        for kind, query in _BESIDE_SESSIONS.items():
            for row in await self._page(query, user_id or ""):
                yield {"kind": kind, **row}

    async def erase_some(self, user_id: str | None) -> ErasedBatch | None:
        """Delete some sessions of that person with all that is in them. None: there is no more."""
        async with self._pool.transaction() as connection:
            condition, arguments = _owned_by(user_id)
            rows = await connection.fetch(
                f"SELECT id FROM sessions WHERE {condition} ORDER BY id LIMIT {_ERASED_AT_ONCE} FOR UPDATE", *arguments
            )
            if not rows:
                for statement in _FORGET:
                    await connection.execute(statement, user_id or "")
                return None
            ids = [row["id"] for row in rows]
            counts = Counter(dict(await _fetchrow(connection, _COUNT, ids)))
            counts["sessions"] = len(ids)
            return ErasedBatch(counts, [one for each in ids for one in await delete_session(connection, each)])

    async def receipt(self, user_id: str | None, erased_by: str, counts: Mapping[str, int]) -> ErasureReceipt:
        """Note what was erased, durably."""
        named = {name: counts.get(name, 0) for name in ("sessions", *_COUNTED)}
        async with self._pool.connection() as connection:
            row = await _fetchrow(
                connection,
                "INSERT INTO erasure_receipts (id, person, erased_by, counts) VALUES ($1, $2, $3, $4) RETURNING *",
                new_receipt_id(),
                sha256((user_id or "").encode()).hexdigest(),
                erased_by,
                named,
            )
        return ErasureReceipt(**row)

    async def _sessions(self, user_id: str | None, after: str) -> list[Row]:
        condition, arguments = _owned_by(user_id)
        return await self._page(
            f"SELECT id, title, created_at, updated_at FROM sessions WHERE {condition}"
            f" AND id > ${len(arguments) + 1} ORDER BY id LIMIT {_SESSIONS}",
            *arguments,
            after,
        )

    async def _of_session(self, session_id: str) -> AsyncIterator[Row]:
        for kind, (table, columns, order, limit) in _OF_SESSION.items():
            query = (
                f"SELECT {columns}, {order} AS page FROM {table} WHERE session_id = $1 AND {order} > $2"
                f" ORDER BY {order} LIMIT {limit}"
            )
            async for row in self._rows(kind, query, session_id, "" if order.endswith("id") else 0, limit):
                yield row
        async for row in self._rows("webhook", _WEBHOOKS, session_id, 0, 1):
            yield row

    async def _rows(self, kind: str, query: str, session_id: str, after: Any, limit: int) -> AsyncIterator[Row]:
        while True:
            page = await self._page(query, session_id, after)
            for row in page:
                after = row.pop("page")
                yield {"kind": kind, **row}
            if len(page) < limit:
                return

    async def _page(self, query: str, *arguments: object) -> list[Row]:
        async with self._pool.connection() as connection:
            return [dict(row) for row in await connection.fetch(query, *arguments)]


def _owned_by(user_id: str | None) -> tuple[str, list[str]]:
    """`IS NOT DISTINCT FROM` would use no index."""
    return ("user_id IS NULL", []) if user_id is None else ("user_id = $1", [user_id])


async def _fetchrow(connection: Connection, query: str, *arguments: object) -> Row:
    row = await connection.fetchrow(query, *arguments)
    return dict(row) if row is not None else {}
