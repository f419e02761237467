"""What a turn is told of its conversation: the newest messages, and a summary of those before a cut-off.

Guarantees: what is read is bounded by messages and bytes, however long the conversation is. A cut-off is stored once,
by the attempt that holds the turn, or with notes that were made beside; it goes with the session, and with any message
before it that is edited or replaced.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sluiceway.store.database.pool import Connection, Pool
from sluiceway.store.records import Message, Task, message_of

_FIRST_PAGE = 64
# The row that passes the limit is told too: the newest message is, whatever its size.
_PAGE = (
    "SELECT * FROM (SELECT m.*, size, sum(size) OVER (ORDER BY sequence DESC) - size AS newer FROM"
    "  (SELECT *, octet_length(parts::text) + coalesce(octet_length(metadata::text), 0) AS size FROM messages"
    "   WHERE session_id = $1 AND sequence < $2"
    "   AND sequence > $3 AND done AND NOT superseded ORDER BY sequence DESC LIMIT $4) m) p"
    " WHERE newer < $5 ORDER BY sequence DESC"
)


@dataclass(frozen=True, slots=True)
class Compaction:
    """Messages up to `through_sequence` are not sent; `summary` says what was in them. `usage`: what it took."""

    through_sequence: int
    summary: str | None = None
    model: str | None = None
    usage: dict[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """Before a turn's answer, oldest first. `whole`: nothing between the cut-off and the first of `messages` was left
    unread."""

    messages: Sequence[Message]
    compaction: Compaction | None = None
    whole: bool = True

    @property
    def cut_off(self) -> int:
        """The sequence of the last message that is left out; 0: none is."""
        return self.compaction.through_sequence if self.compaction is not None else 0


class ConversationStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def before(self, task: Task, *, max_messages: int, max_bytes: int) -> Conversation:
        """What was said before this turn's answer, since the newest cut-off; the newest messages are kept."""
        async with self._pool.connection() as connection:
            compaction = await _newest(connection, task)
            after = compaction.through_sequence if compaction is not None else 0
            messages, whole = await _newest_messages(connection, task, after, max_messages, max_bytes)
        return Conversation(messages, compaction, whole)

    async def compact(self, task: Task, compaction: Compaction) -> bool:
        """Store a cut-off, if the attempt still holds the turn and nobody wants it to end: who edits an earlier message
        wants that first, and the summary would be of the old text."""
        async with self._pool.connection() as connection:
            stored = await connection.fetchval(
                "WITH held AS (SELECT session_id FROM tasks WHERE id = $1 AND attempt = $2 AND status = 'running'"
                "   AND cancel_requested_at IS NULL AND sequence > $3 FOR SHARE)"
                " INSERT INTO compactions (session_id, through_sequence, summary, model, usage)"
                " SELECT session_id, $3, $4, $5, $6 FROM held"
                " ON CONFLICT (session_id, through_sequence) DO UPDATE SET summary = excluded.summary,"
                "   model = excluded.model, usage = excluded.usage RETURNING true",
                task.id,
                task.attempt,
                compaction.through_sequence,
                compaction.summary,
                compaction.model,
                compaction.usage,
            )
        return bool(stored)

    async def newest(self, task: Task) -> Compaction | None:
        """The newest cut-off before this turn's answer."""
        async with self._pool.connection() as connection:
            return await _newest(connection, task)

    async def note(
        self, session_id: str, compaction: Compaction, before: Compaction | None, sequences: Sequence[int]
    ) -> bool:
        """Store a cut-off with notes that were made of these messages, and of the cut-off before them, while the
        conversation went on: if all of them are still what it shows."""
        async with self._pool.transaction() as connection:
            # Whoever shows another branch locks it, too, and forgets the cut-offs that are there then.
            if not await connection.fetchval("SELECT true FROM sessions WHERE id = $1 FOR SHARE", session_id):
                return False
            stored = await connection.fetchval(
                "INSERT INTO compactions (session_id, through_sequence, summary, model, usage)"
                " SELECT $1, $2, $3, $4, $5 WHERE $6 = (SELECT coalesce(max(through_sequence), 0) FROM compactions"
                "   WHERE session_id = $1)"
                " AND cardinality($7::bigint[]) = (SELECT count(*) FROM messages WHERE session_id = $1"
                "   AND sequence = ANY($7::bigint[]) AND done AND NOT superseded)"
                " ON CONFLICT (session_id, through_sequence) DO NOTHING RETURNING true",
                session_id,
                compaction.through_sequence,
                compaction.summary,
                compaction.model,
                compaction.usage,
                before.through_sequence if before is not None else 0,
                sequences,
            )
        return bool(stored)


async def forget_compactions(connection: Connection, session_id: str, sequence: int) -> None:
    """Those that have said something of this message, or of later ones: it is said otherwise now."""
    await connection.execute(
        "DELETE FROM compactions WHERE session_id = $1 AND through_sequence >= $2", session_id, sequence
    )


async def _newest(connection: Connection, task: Task) -> Compaction | None:
    row: Any = await connection.fetchrow(
        "SELECT through_sequence, summary, model, usage FROM compactions WHERE session_id = $1"
        " AND through_sequence < $2 ORDER BY through_sequence DESC LIMIT 1",
        task.session_id,
        task.sequence,
    )
    return Compaction(**row) if row is not None else None


async def _newest_messages(
    connection: Connection, task: Task, after: int, max_messages: int, max_bytes: int
) -> tuple[list[Message], bool]:
    """A page after the other, each larger than all before it: most conversations are one."""
    found: list[Message] = []
    before, page, left = task.sequence, _FIRST_PAGE, max_bytes
    while True:
        limit = min(page, max_messages - len(found))
        rows = await connection.fetch(_PAGE, task.session_id, before, after, limit, left)
        found += [message_of(row) for row in rows]
        left -= sum(row["size"] for row in rows)
        if len(rows) < limit:
            # Fewer than asked for: all that there are, unless the bytes were what ended it.
            return found[::-1], left > 0
        if left <= 0 or len(found) >= max_messages:
            return found[::-1], False
        before, page = rows[-1]["sequence"], page * 4
