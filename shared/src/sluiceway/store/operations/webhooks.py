"""The webhook journal: every webhook that was taken, with what came of it.

Guarantees: a webhook is known by its operation, its kind and its sender's id for it, for as long as the operation is
kept; a repeat finds the first one and changes nothing. A sender cannot make the journal of an operation grow without
bound: neither with ever new ids, nor after the operation has ended.

A report of progress that comes while its turn runs, which that operation does not block, is put off: it stays
`received`, and of an operation no other does. It is to be shown when the turn waits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

import asyncpg

from sluiceway.errors import OperationEnded, OperationNotFound, OperationNotStarted, TooManyWebhooks
from sluiceway.store.database.pool import Connection, Pool
from sluiceway.store.records import ASKING, COMPLETABLE, OPEN
from sluiceway.wire.jobs import CompletionJob, ProgressJob

WebhookKind = Literal["complete", "progress"]
Sender = Literal["signature", "api-key"]
WebhookOutcome = Literal["received", "applied", "late", "superseded"]

# More than any honest sender has to say about one operation.
MOST: Mapping[WebhookKind, int] = {"complete": 100, "progress": 10_000}
# What came after the end is kept to be looked at, not to be complete.
MOST_LATE = 20
_FULL_RETRY_SECONDS = 60
# Of the rows `w`: accepted, and for that long dealt with by nobody. What was put off is none of them.
UNAPPLIED = (
    "w.outcome = 'received' AND w.received_at < now() - {age}::interval AND NOT (w.kind = 'progress' AND EXISTS"
    " (SELECT 1 FROM operations p JOIN tasks t ON t.id = p.task_id"
    " WHERE p.id = w.operation_id AND t.status IN ('queued', 'running')))"
)
# The last report of progress of each open operation of these turns is to be shown again.
SHOW_AGAIN = (
    "UPDATE webhook_journal w SET outcome = 'received', applied_at = NULL FROM ("
    "SELECT (SELECT max(p.id) FROM webhook_journal p WHERE p.operation_id = o.id AND p.kind = 'progress') AS id"
    f" FROM operations o JOIN {{tasks}} t ON t.id = o.task_id WHERE o.{COMPLETABLE}) last WHERE w.id = last.id"
)


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """`webhook_id`: the sender's, the same for each attempt to deliver it. `body`: what Postgres takes as JSON."""

    operation_id: str
    kind: WebhookKind
    webhook_id: str
    sender: Sender
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Webhook:
    """A row of the journal. `applied_at`: when it was dealt with, whatever the outcome."""

    id: int
    operation_id: str
    task_id: str
    kind: WebhookKind
    webhook_id: str
    sender: Sender
    body: dict[str, Any]
    outcome: WebhookOutcome
    received_at: datetime
    applied_at: datetime | None

    @property
    def job(self) -> CompletionJob | ProgressJob:
        """What the completion consumer is asked for; how often it is asked makes no difference."""
        if self.kind == "complete":
            return CompletionJob(operation_id=self.operation_id, task_id=self.task_id, receipt=self.id, **self.body)
        return ProgressJob(operation_id=self.operation_id, number=self.id, receipt=self.id, **self.body)

    @property
    def came_late(self) -> bool:
        """Its sender was told that the operation had ended. (One that was accepted first can turn out late, too.)"""
        return self.outcome == "late" and self.applied_at == self.received_at


_COLUMNS = ", ".join("o.task_id" if name == "task_id" else f"w.{name}" for name in Webhook.__slots__)
_SELECT = f"SELECT {_COLUMNS} FROM webhook_journal w JOIN operations o ON o.id = w.operation_id"


class WebhookStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def receive(self, new: NewWebhook) -> Webhook:
        """Write it down, or find it where it was written down before.

        Raises OperationNotFound; OperationEnded (it is written down as late, up to a bound), also for its repeats;
        OperationNotStarted while a person has to agree first; TooManyWebhooks.
        """
        async with self._pool.transaction() as connection:
            webhook = await _receive(connection, new)
        if webhook is None or webhook.came_late:
            raise OperationEnded
        return webhook

    async def get(self, webhook_id: int) -> Webhook | None:
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(f"{_SELECT} WHERE w.id = $1", webhook_id)
        return _webhook_of(row) if row is not None else None

    async def page(
        self, operation_id: str | None, outcome: WebhookOutcome | None, before_id: int | None, limit: int
    ) -> list[Webhook]:
        """The newest first; at most `limit`."""
        # A statement for each case: `$1 IS NULL OR …` keeps the indexes out. An outcome stands in it as a word: only so
        # does Postgres know whether it is one of the rare ones.
        asked = {"operation_id =": operation_id, "id <": before_id}
        told = {condition: value for condition, value in asked.items() if value is not None}
        conditions = [f"w.{condition} ${place}" for place, condition in enumerate(told, start=2)]
        if outcome in get_args(WebhookOutcome):
            conditions.append(f"w.outcome = '{outcome}'")
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(f"{_SELECT} {where} ORDER BY w.id DESC LIMIT $1", limit, *told.values())
        return [_webhook_of(row) for row in rows]

    async def unapplied(self, older_than: timedelta, limit: int, without: Sequence[int] = ()) -> list[Webhook]:
        """Webhooks that were accepted and that nobody has dealt with yet, the oldest first."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                f"{_SELECT} WHERE {UNAPPLIED.format(age='$1')}"
                " AND NOT w.id = ANY($3::bigint[]) ORDER BY w.received_at, w.id LIMIT $2",
                older_than,
                limit,
                without,
            )
        return [_webhook_of(row) for row in rows]

    async def put_off(self, task_id: str) -> list[Webhook]:
        """What a turn's open operations reported while it ran, and was not to be shown then, the oldest first."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                f"{_SELECT} WHERE o.task_id = $1 AND o.{COMPLETABLE} AND w.kind = 'progress'"
                " AND w.outcome = 'received' ORDER BY w.id",
                task_id,
            )
        return [_webhook_of(row) for row in rows]


async def _receive(connection: Connection, new: NewWebhook) -> Webhook | None:
    """None: it is late, and one of so many that it was not kept."""
    # The operation is not deleted under the row that is to name it; nothing else waits for this lock.
    lock = "SELECT status FROM operations WHERE id = $1 FOR KEY SHARE"
    status = await connection.fetchval(lock, new.operation_id)
    if status is None:
        raise OperationNotFound
    known = await _known(connection, new)
    if known is not None:
        return known
    if status in ASKING:
        raise OperationNotStarted
    ended = status not in OPEN
    if await _full(connection, new, ended):
        if ended:
            return None
        raise TooManyWebhooks(retry_after_seconds=_FULL_RETRY_SECONDS)
    await _insert(connection, new, ended)
    # Where the same webhook came twice at once, this is the other one's row.
    return await _known(connection, new)


async def _known(connection: Connection, new: NewWebhook) -> Webhook | None:
    row = await connection.fetchrow(
        f"{_SELECT} WHERE w.operation_id = $1 AND w.kind = $2 AND w.webhook_id = $3",
        new.operation_id,
        new.kind,
        new.webhook_id,
    )
    return _webhook_of(row) if row is not None else None


async def _full(connection: Connection, new: NewWebhook, ended: bool) -> bool:
    if ended:
        late = "SELECT count(*) FROM webhook_journal WHERE operation_id = $1 AND outcome = 'late'"
        return int(await connection.fetchval(late, new.operation_id)) >= MOST_LATE
    count = "SELECT count(*) FROM webhook_journal WHERE operation_id = $1 AND kind = $2"
    return int(await connection.fetchval(count, new.operation_id, new.kind)) >= MOST[new.kind]


async def _insert(connection: Connection, new: NewWebhook, ended: bool) -> None:
    await connection.execute(
        "INSERT INTO webhook_journal (operation_id, kind, webhook_id, sender, body, outcome, applied_at)"
        " VALUES ($1, $2, $3, $4, $5, CASE WHEN $6 THEN 'late' ELSE 'received' END, CASE WHEN $6 THEN now() END)"
        " ON CONFLICT (operation_id, kind, webhook_id) DO NOTHING",
        new.operation_id,
        new.kind,
        new.webhook_id,
        new.sender,
        new.body,
        ended,
    )


def _webhook_of(row: asyncpg.Record) -> Webhook:
    return Webhook(**{name: row[name] for name in Webhook.__slots__})
