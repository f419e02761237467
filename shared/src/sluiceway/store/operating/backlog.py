"""How much is left undone: what the reconciler says of itself after each round."""

from datetime import timedelta

from sluiceway.store.database.pool import Pool
from sluiceway.store.operations.completions import STRANDED, STRANDED_AFTER
from sluiceway.store.operations.deadlines import UNANSWERED
from sluiceway.store.operations.webhooks import UNAPPLIED
from sluiceway.store.records import COMPLETABLE, LIVE

# Counting is bounded, too: more than this is many.
MOST = 10_000
_KINDS = {
    "ends": "tasks WHERE settled_at IS NULL AND ended_at < now() - $1::interval",
    "next_steps": f"tasks t WHERE {STRANDED}",
    "live_turns": f"tasks WHERE $4 <> '' AND id > $4 AND {LIVE}",
    "operations": "operations WHERE $5 <> '' AND id > $5 AND status IN ('pending', 'running')",
    "deadlines": f"operations WHERE deadline_at < now() AND {COMPLETABLE}",
    "approvals": f"operations o JOIN sessions s ON s.id = o.session_id WHERE {UNANSWERED}",
    "webhooks": f"webhook_journal w WHERE {UNAPPLIED.format(age='$3')}",
    "parked": "parked_completions",
}
_COUNT = "SELECT " + ", ".join(
    f"(SELECT count(*) FROM (SELECT 1 FROM {what} LIMIT {MOST}) AS found) AS {kind}" for kind, what in _KINDS.items()
)


class BacklogStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def count(
        self, *, ended_for: timedelta, received_for: timedelta, live_after: str, unfinished_after: str
    ) -> dict[str, int]:
        """By kind, how many wait for the reconciler; at most `MOST` of each. `live_after`, `unfinished_after`: the last
        live turn and operation that a round has looked at, empty when it came to the last of them."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(
                _COUNT, ended_for, STRANDED_AFTER, received_for, live_after, unfinished_after
            )
        return dict(row) if row is not None else {}
