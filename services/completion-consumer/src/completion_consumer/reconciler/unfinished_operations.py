"""The reconciler's look at operations: what nobody works on, what is overdue, and what was said but not applied.

- An operation past its deadline has failed, and its turn continues; one that waited for a person just ends.
- An operation that should be queued or in flight, and is neither, is queued again: the runner that gets it
  decides whether it may be begun again. One that an outside service works on is left to its deadline; or, where the
  service is asked, it is queued for that when its time has come.
- A webhook that was accepted, and that the consumer has not dealt with, is put into its queue again.
- A completion that came before its operation is applied; after `park_for` without one it is a dead letter.
Each is bounded per round, so that one kind does not keep the others waiting.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from pydantic import ValidationError
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.feeds.person_events import PersonEvents
from sluiceway.operation.completions import Completions
from sluiceway.operation.publishing import Operations
from sluiceway.process.logs import get_logger
from sluiceway.queue.work_queue import Producer
from sluiceway.redis.client import commands
from sluiceway.store import Store
from sluiceway.store.operations.operation_end import OperationEnd
from sluiceway.store.operations.parked import Parked
from sluiceway.store.operations.webhooks import Webhook
from sluiceway.store.records import Operation
from sluiceway.stream.operation_entries import OperationEntries
from sluiceway.stream.operation_output import OperationOutput
from sluiceway.wire.jobs import CompletionJob
from sluiceway.wire.message import output_of
from sluiceway.wire.person_event import SessionChanged

from completion_consumer.completions.applying import Applying
from completion_consumer.reconciler.entries import Entries
from completion_consumer.reconciler.round import Round
from completion_consumer.reconciler.unclaimed_operations import UnclaimedOperations

_PAGE = 200
_PAGES = 5
# Younger operations and webhooks are still on their way through the process that stored them.
PUBLISHING = timedelta(seconds=5)
# A webhook whose entry waits in a long queue is not put into it again and again.
_AGAIN_SECONDS = 60.0
_OVERDUE = OperationEnd(
    "expired",
    error={"type": "DEADLINE_EXCEEDED", "message": "The tool did not end before its deadline."},
)
_UNANSWERED = OperationEnd(
    "expired",
    error={"type": "DEADLINE_EXCEEDED", "message": "Nobody answered it in time."},
)


@dataclass(frozen=True, slots=True)
class _Looked:
    """`lost`: those without a queue entry, or with what Redis answered when it was asked. `unheld`: those that no
    runner has under a lease that it renews."""

    lost: Sequence[tuple[Operation, Exception | None]]
    unheld: Sequence[Operation]


class UnfinishedOperations:
    """`looked_at`: the operation at which the last round ended; empty when it came to the last of them."""

    def __init__(
        self,
        redis: Redis,
        store: Store,
        output: OperationOutput,
        entries: OperationEntries,
        operations: Operations,
        applying: Applying,
        people: PersonEvents,
        *,
        lease: timedelta,
        park_for: timedelta,
        claim_within: timedelta,
    ) -> None:
        self._redis = redis
        self._store = store
        self._output = output
        self._entries = entries
        self._operations = operations
        self._applying = applying
        self._people = people
        self._completions = Completions(redis)
        self._unclaimed = UnclaimedOperations(redis, store, applying, claim_within)
        self._lease = lease
        self._park_for = park_for
        self._parked_after = 0
        self._log = get_logger()
        self.looked_at = ""

    async def look(self, current: Round) -> None:
        """Raises LeadershipLost."""
        await current.part("deadlines", self._expire)
        await current.part("approvals", self._expire_approvals)
        await current.part("operations", self._look_at_unfinished)
        await current.part("polls", self._ask_again)
        await current.part("webhooks", self._send_webhooks_again)
        await current.part("parked", self._look_at_parked)

    # Deadlines

    async def _expire(self, current: Round) -> None:
        overdue = await self._store.deadlines.overdue(_PAGE, current.quarantined_ids("deadlines"))
        await current.each("deadlines", {operation.id: operation for operation in overdue}, self._expire_one)

    async def _expire_one(self, operation: Operation) -> str | None:
        outcome = await self._store.deadlines.expire(operation, _OVERDUE)
        if outcome is None:
            return None
        self._applying.log(outcome, "expired")
        await self._applying.follow_up(outcome)
        return "operation_expired"

    async def _expire_approvals(self, current: Round) -> None:
        sessions = await self._store.deadlines.unanswered(_PAGE, current.quarantined_ids("approvals"))
        await current.each("approvals", {session_id: session_id for session_id in sessions}, self._expire_in)

    async def _expire_in(self, session_id: str) -> str | None:
        expired = await self._store.deadlines.expire_approvals(session_id, _UNANSWERED)
        for one in expired:
            operation = one.operation
            self._log.info("approval_expired", task_id=operation.task_id, operation_id=operation.id)
            event = output_of(one.part)
            if event is not None:  # an ended turn's stream does not take it, and needs not
                await self._output.show(operation.task_id, operation.id, [event], final=True)
        if not expired:
            return None
        await self._people.mention(await self._store.sessions.owner(session_id), SessionChanged(session_id=session_id))
        return "approval_expired"

    # What nobody works on

    async def _look_at_unfinished(self, current: Round) -> None:
        for _ in range(_PAGES):
            page = await self._store.operations.unfinished(self.looked_at, PUBLISHING, _PAGE)
            self.looked_at = page[-1].id if len(page) == _PAGE else ""
            looked = await self._look_for(await self._unreported(page))
            lost = {operation.id: (operation, why) for operation, why in looked.lost}
            await current.each("operations", lost, self._requeue)
            await self._unclaimed.look(current, looked.unheld)
            if not self.looked_at:
                return

    async def _unreported(self, operations: Sequence[Operation]) -> list[Operation]:
        """Those whose end is not on its way already."""
        running = [operation for operation in operations if operation.status == "running"]
        asked = [("EXISTS", keys.operation_reported(operation.id)) for operation in running]
        answers = await commands(self._redis, asked)
        reported = {operation.id for operation, answer in zip(running, answers, strict=True) if answer == 1}
        return [operation for operation in operations if operation.id not in reported]

    async def _look_for(self, operations: Sequence[Operation]) -> "_Looked":
        """By the entry that was queued last, and that under which a runner has begun it."""
        asked = [(operation.task_id, operation.id) for operation in operations]
        entries = dict(zip(asked, await self._entries.find(asked), strict=True))
        by_queue: dict[str, dict[str, list[str]]] = defaultdict(dict)
        for operation in operations:
            known = (entries[operation.task_id, operation.id], operation.entry_id)
            if found := [entry_id for entry_id in known if isinstance(entry_id, str)]:
                by_queue[operation.queue][operation.id] = found
        task_ids = {operation.id: operation.task_id for operation in operations}
        queued, held = set[str](), set[str]()
        for queue, noted in by_queue.items():
            tools = Producer(self._redis, keys.tool_queue(queue))
            entries_of = await Entries(tools, "operation_id", self._lease).find(noted)
            for operation_id, entry_id in entries_of.moved.items():
                await self._entries.note([(task_ids[operation_id], operation_id, entry_id)])
            queued |= entries_of.noted | entries_of.moved.keys()
            held |= {operation_id for operation_id, ids in noted.items() if not entries_of.held.isdisjoint(ids)}
        refused = {key: answer for key, answer in entries.items() if isinstance(answer, Exception)}
        return _Looked(
            lost=[(one, refused.get((one.task_id, one.id))) for one in operations if one.id not in queued],
            unheld=[one for one in operations if one.id not in held],
        )

    async def _requeue(self, lost: tuple[Operation, Exception | None]) -> str | None:
        operation, refused = lost
        if refused is not None:
            raise refused
        now = await self._store.operations.get(operation.id)
        if now is None or (now.status, now.attempt) != (operation.status, operation.attempt):
            return None  # it has moved on since the page was read
        await self._operations.publish([operation])
        self._log.warning(
            "operation_requeued", task_id=operation.task_id, operation_id=operation.id, status=operation.status
        )
        return "operation_requeued"

    # What outside services are asked for

    async def _ask_again(self, current: Round) -> None:
        """They are queued for a runner; one whose entry is lost is due again in a minute."""
        due = await self._store.polls.due(_PAGE, current.quarantined_ids("polls"))
        await current.each("polls", {operation.id: operation for operation in due}, self._ask)

    async def _ask(self, operation: Operation) -> None:
        await self._operations.publish([operation])

    # What was said

    async def _send_webhooks_again(self, current: Round) -> None:
        without = [int(key) for key in current.quarantined_ids("webhooks")]
        unapplied = await self._store.webhooks.unapplied(PUBLISHING, _PAGE, without)

        async def send(webhook: Webhook) -> str:
            await self._completions.publish(webhook.job)
            current.leave_out("webhooks", webhook.id, _AGAIN_SECONDS)
            self._log.warning("webhook_sent_again", operation_id=webhook.operation_id, receipt=webhook.id)
            return "webhook_resent"

        await current.each("webhooks", {webhook.id: webhook for webhook in unapplied}, send)

    async def _look_at_parked(self, current: Round) -> None:
        page = await self._store.parked.page(self._parked_after, self._park_for, _PAGE)
        self._parked_after = page[-1].id if len(page) == _PAGE else 0
        ripe = {parked.id: parked for parked in page if parked.fits or parked.outdated}
        await current.each("parked", ripe, self._apply_parked)

    async def _apply_parked(self, parked: Parked) -> str | None:
        if parked.fits:
            try:
                job = CompletionJob.model_validate(parked.body)
            except ValidationError:
                return await self._give_up(parked, "not a completion")
            outcome = await self._applying.apply(job)
            if outcome.kind == "late":
                return await self._give_up(parked, f"late: {outcome.reason}")
            if outcome.kind != "unknown":
                await self._applying.follow_up(outcome)
                await self._store.parked.remove(parked.id)
                return "parked_applied"
        return await self._give_up(parked, "its operation never came") if parked.outdated else None

    async def _give_up(self, parked: Parked, reason: str) -> str:
        await self._store.parked.give_up(parked.id, keys.work_queue(keys.COMPLETIONS), reason)
        self._log.error("dead_letter", entry_id=f"parked-{parked.id}", reason=reason)
        return "parked_given_up"
