"""The reconciler's look at turns: what a crash, a flush or an outage left undone is done again, idempotently.

- A turn that is its session's active one and is in no queue is queued (the row is the outbox of `accept`).
- A turn whose queue entry is gone is queued again; one that waits for operations is not, and neither is one whose entry
  was released and waits under another id.
- A turn whose operations have all ended, and whose next step was not queued, is queued.
- A turn that waits for its model is queued when that is to be asked again.
- A turn in its user's lane, behind one that a worker has, goes into the queue.
- A turn that waits for operations, and that Redis has forgotten, gets its stream back.
- A turn that was cancelled, and whose holder is gone, is ended, also when there is no worker to do it.
- A turn that was to run, or did, for longer than its deadline fails, also while a worker holds it.
- A turn that only waits for operations makes way for a message that came before that, and need not wait.
- A turn in the background is looked after as one that waits; its followers are told, and it is continued, once.
- What a live turn has in Redis is kept from expiring while nobody holds it.
- A session whose active turn was lost gets its next one.
- A turn of which Redis knows more than Postgres (a restored backup) catches up: see `turn/catch_up.py`.
- An ended turn whose stream was not closed, or whose successor was not released, is finalized.
Live turns are looked at page by page, some pages a round, in turn; a page is a few round trips, however long it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from redis.exceptions import ResponseError
from sluiceway.errors import Fenced
from sluiceway.process.logs import get_logger
from sluiceway.queue.work_queue import Producer
from sluiceway.store import Store
from sluiceway.store.records import Task
from sluiceway.store.turns.ending import EndFacts
from sluiceway.store.turns.turns import LiveTurn
from sluiceway.stream.reader import TaskReader
from sluiceway.stream.registry import TaskRegistry
from sluiceway.stream.task_meta import TaskMeta
from sluiceway.stream.task_snapshot import TaskSnapshot
from sluiceway.stream.writer import TaskWriter
from sluiceway.turn.background import TurnBackground
from sluiceway.turn.catch_up import TurnCatchUp
from sluiceway.turn.dispatch import TurnDispatch
from sluiceway.turn.ending import TurnEnding
from sluiceway.turn.rebuild import TurnRebuild
from sluiceway.turn.shown import TOLD_BACKGROUND

from completion_consumer.reconciler.entries import Entries
from completion_consumer.reconciler.round import Round

_PAGE = 500
_PAGES = 4
# Younger turns are still on their way through the gateway that accepted them.
_PUBLISHING = timedelta(seconds=2)
EXPIRED = {
    "code": "TURN_DEADLINE_EXCEEDED",
    "message": "The answer was not finished in time, and nothing works on it any more. Please try again.",
}

Fault = Literal[
    "ahead",
    "expired",
    "cancelled",
    "forgotten",
    "not told to wait",
    "not told to end",
    "in no queue",
    "not told it is in the background",
]


@dataclass(frozen=True, slots=True)
class _Live:
    """A live turn, and what Redis knows of it. `left_ms`: for how long Redis would keep that. `held`: a living worker
    has begun it, and has its queue entry in flight. `queued`: it has an entry, in flight or not."""

    task: Task
    meta: TaskMeta | None
    left_ms: int
    held: bool
    queued: bool


class UnfinishedTurns:
    """`looked_at`: the live turn at which the last round ended; empty when it came to the last of them."""

    def __init__(
        self,
        store: Store,
        registry: TaskRegistry,
        reader: TaskReader,
        writer: TaskWriter,
        dispatch: TurnDispatch,
        ending: TurnEnding,
        rebuild: TurnRebuild,
        background: TurnBackground,
        catch_up: TurnCatchUp,
        queue: Producer,
        *,
        lease: timedelta,
        finalize_after: timedelta,
        deadline: timedelta,
    ) -> None:
        self._store = store
        self._registry = registry
        self._reader = reader
        self._writer = writer
        self._dispatch = dispatch
        self._ending = ending
        self._rebuild = rebuild
        self._background = background
        self._catch_up = catch_up
        self._queue = queue
        self._entries = Entries(queue, "task_id", lease)
        self._finalize_after = finalize_after
        self._deadline = deadline
        self._next_step_after = ""
        self._replication_ids: frozenset[str] = frozenset()
        self._log = get_logger()
        self.looked_at = ""

    async def look(self, current: Round) -> None:
        """Raises LeadershipLost."""
        await current.part("ends", self._finalize_ended)
        await current.part("live_turns", self._look_at_live_turns)
        await current.part("lanes", self._advance_lanes)
        await current.part("next_steps", self._resume)

    # Turns that have ended

    async def _finalize_ended(self, current: Round) -> None:
        without = current.quarantined_ids("ends")
        tasks = await self._store.turns.unfinalized(self._finalize_after, _PAGE, without)
        await current.each("ends", {task.id: task for task in tasks}, self._finalize)

    async def _finalize(self, task: Task) -> str:
        await self._ending.finalize(task)
        self._log.info("turn_finalized", task_id=task.id, session_id=task.session_id, status=task.status)
        return "turn_finalized"

    # Turns that are live

    async def _look_at_live_turns(self, current: Round) -> None:
        for _ in range(_PAGES):
            self._replication_ids = await self._reader.replication_ids()
            page = await self._store.turns.live(self.looked_at, _PAGE)
            # At once: what fails in this page must not keep the next rounds from the others.
            self.looked_at = page[-1].task.id if len(page) == _PAGE else ""
            stranded = {turn.task.session_id: turn.task for turn in page if turn.stranded}
            await current.each("live_turns", stranded, self._release)
            in_the_way = {turn.task.id: turn.task for turn in page if turn.in_the_way}
            await current.each("live_turns", in_the_way, self._make_way)
            await self._look_at(current, [turn for turn in page if _is_looked_after(turn)])
            if not self.looked_at:
                return

    async def _look_at(self, current: Round, turns: Sequence[LiveTurn]) -> None:
        live, unreadable = await self._seen([turn.task for turn in turns])
        ahead = await self._catch_up.ahead([(one.task, one.meta) for one in live if one.meta is not None])
        overdue = await self._overdue(turns)
        faults: dict[str, tuple[_Live, Fault]] = {}
        for one in live:
            fault = self._fault_of(one, ahead, overdue)
            if fault is not None:
                faults[one.task.id] = one, fault
        await self._keep([one for one in live if one.task.id not in faults])
        await current.each("live_turns", unreadable, _refuse)
        await current.each("live_turns", faults, self._repair)

    async def _seen(self, tasks: Sequence[Task]) -> tuple[list[_Live], Mapping[str, Exception]]:
        """The turns with what Redis knows of them; and those of which it has what no script of ours has written."""
        seen, unreadable = _read(tasks, await self._registry.snapshots([task.id for task in tasks]))
        found = await self._entries.find({task.id: meta.entries for task, meta, _ in seen if meta and meta.entries})
        for task_id, entry_id in found.moved.items():
            await self._registry.set_queue_entry(task_id, entry_id)
        live = [
            _Live(task, meta, left_ms, held=meta is not None and meta.held_entry in found.held, queued=task.id in found)
            for task, meta, left_ms in seen
        ]
        return live, unreadable

    async def _overdue(self, turns: Sequence[LiveTurn]) -> set[str]:
        old = [turn.task.id for turn in turns if _is_to_run(turn.task) and turn.age > self._deadline]
        return await self._store.turns.overdue(old, self._deadline) if old else set()

    def _fault_of(self, one: _Live, ahead: set[str], overdue: set[str]) -> Fault | None:
        task, meta, held = one.task, one.meta, one.held
        if task.id in ahead:
            return "ahead"
        if task.id in overdue:
            return "expired"
        if task.cancel_requested_at is not None and not held:
            return "cancelled"
        if task.status == "waiting":
            # Nobody holds it, and it is in no queue: only its operations, or its time, can bring it on.
            if meta is None or meta.status == "queued" or (not held and _is_incomplete(task, meta)):
                return "forgotten"
            if meta.replication_id is not None and meta.replication_id not in self._replication_ids:
                return "forgotten"  # the last of it, perhaps
            # Its worker died after the step was durable, and before Redis had learned that the turn waits.
            if meta.status == "running" and not held:
                return "not told to wait"
            return "not told it is in the background" if _is_untold(task, meta) else None
        if meta is None or meta.ended or not one.queued:
            return "in no queue"
        return "not told to end" if task.cancel_requested_at is not None and not meta.cancel else None

    async def _keep(self, live: Sequence[_Live]) -> None:
        """From half-time on: an EXPIRE is a change too, and wakes every reader."""
        half_ms = self._registry.live_ttl_ms / 2
        await self._registry.refresh([one.task.id for one in live if one.left_ms < half_ms])

    async def _repair(self, faulty: tuple[_Live, Fault]) -> str | None:
        one, fault = faulty
        task = one.task
        match fault:
            case "ahead":
                return None if one.meta is None else await self._catch_up.catch_up(task.id, one.meta, held=one.held)
            case "expired":
                facts = {"was": task.status, "seconds": round(self._deadline.total_seconds())}
                return await self._end(task, "failed", EXPIRED, facts)
            case "cancelled":
                return await self._end(task, "cancelled")
            case "forgotten":
                return await self._rebuild_waiting(task)
            case "not told to wait":
                told = await self._writer.wait(task.id, task.attempt, {})
                return await self._rebuild_waiting(task) if told == "lost" else "turn_waits"
            case "not told it is in the background":
                await self._background.tell(task)
                return "background_told"
            case "not told to end":
                await self._registry.request_cancel(task.id)
                return "cancel_told"
            case "in no queue":
                return await self._queue_again(task, "unknown to Redis" if one.meta is None else fault)

    async def _end(
        self,
        task: Task,
        status: Literal["failed", "cancelled"],
        error: dict[str, str] | None = None,
        facts: EndFacts | None = None,
    ) -> str | None:
        if not await self._ending.end_unheld(task, status, error, facts):
            return None
        did = "turn_cancelled" if error is None else "turn_expired"
        self._log.info(did, task_id=task.id, session_id=task.session_id, attempt=task.attempt)
        return did

    async def _rebuild_waiting(self, task: Task) -> str | None:
        try:
            await self._rebuild.waiting(task)
        except Fenced:
            return None  # its operations have ended meanwhile, and a worker has it
        self._log.warning("turn_restored", task_id=task.id, session_id=task.session_id)
        return "turn_restored"

    async def _release(self, task: Task) -> str | None:
        released = await self._store.turns.activate_next(task.session_id)
        if released is None:
            return None
        self._log.warning("turn_released", task_id=released.id, session_id=released.session_id)
        return "turn_released"

    async def _make_way(self, task: Task) -> str | None:
        return "turn_made_way" if await self._background.make_way(task) else None

    async def _advance_lanes(self, _: Round) -> None:
        """Chat workers do so, whenever they read; those of a version before lanes do not, and a user's turns behind his
        first would wait for ever."""
        await self._queue.advance()

    # Turns whose operations have ended, or whose model is to be asked again

    async def _resume(self, current: Round) -> None:
        tasks = await self._store.completions.stranded(self._next_step_after, _PAGE)
        self._next_step_after = tasks[-1].id if len(tasks) == _PAGE else ""
        live, unreadable = await self._seen(tasks)
        await current.each("next_steps", unreadable, _refuse)
        lost = {one.task.id: one.task for one in live if not one.queued}
        await current.each("next_steps", lost, self._next_step)

    async def _next_step(self, task: Task) -> str | None:
        if task.background_at is not None:
            return "turn_continued" if await self._background.carry_on(task) else None
        if task.retry_at is None:
            return await self._queue_again(task, "its operations have ended")
        if not await self._publish(task):
            return None
        self._log.info("turn_continued", task_id=task.id, session_id=task.session_id)
        return "turn_continued"

    async def _queue_again(self, task: Task, reason: str) -> str | None:
        if not await self._publish(task):
            return None
        self._log.warning("turn_requeued", task_id=task.id, session_id=task.session_id, reason=reason)
        return "turn_requeued"

    async def _publish(self, task: Task) -> bool:
        """False: it has moved on since the page was read, and what Redis says is about that."""
        now = await self._store.turns.get(task.id)
        if now is None or (now.status, now.attempt) != (task.status, task.attempt):
            return False
        await self._dispatch.publish(task)
        return True


def _read(
    tasks: Sequence[Task], seen: Sequence[TaskSnapshot]
) -> tuple[list[tuple[Task, TaskMeta | None, int]], Mapping[str, Exception]]:
    readable: list[tuple[Task, TaskMeta | None, int]] = []
    unreadable: dict[str, Exception] = {}
    for task, one in zip(tasks, seen, strict=True):
        try:
            readable.append((task, one.meta, one.left_ms))
        except (ResponseError, ValueError, KeyError) as error:
            unreadable[task.id] = error
    return readable, unreadable


def _is_incomplete(task: Task, meta: TaskMeta) -> bool:
    """Redis knows an older attempt only, after a failover; or its rebuilding broke off."""
    return meta.attempt < task.attempt or (meta.status == "running" and meta.rebuilding)


async def _refuse(error: Exception) -> None:
    raise error


def _is_to_run(task: Task) -> bool:
    """It waits for no operation: for a worker, or for its model."""
    return task.status != "waiting" or task.retry_at is not None


def _is_looked_after(turn: LiveTurn) -> bool:
    return (turn.active or turn.task.background_at is not None) and not _is_young(turn)


def _is_untold(task: Task, meta: TaskMeta) -> bool:
    """It went into the background, and its stream does not say so."""
    return task.background_at is not None and meta.status == "waiting" and TOLD_BACKGROUND not in meta.ended_operations


def _is_young(turn: LiveTurn) -> bool:
    return turn.task.status == "queued" and turn.age < _PUBLISHING
