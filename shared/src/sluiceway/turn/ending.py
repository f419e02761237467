"""Ending a turn: its answer durable in Postgres, then its stream closed, then its user's devices told, then the
session's next turn released.

Guarantees: a turn ends once, in Postgres by a compare-and-set of its row, in Redis by one of its metadata. `finalize`
does what is left of an end that broke off, and is idempotent. An end that Postgres refuses is reduced until it is taken
(not_storable.py): what a turn said never keeps it from ending.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from sluiceway.errors import Fenced, NotStorable, TaskNotFound
from sluiceway.feeds.person_events import PersonEvents
from sluiceway.process.logs import get_logger
from sluiceway.store import Store
from sluiceway.store.records import Task
from sluiceway.store.turns.ending import Ended, EndFacts, TurnEnd
from sluiceway.stream.reader import TaskReader
from sluiceway.stream.registry import TaskRegistry
from sluiceway.stream.writer import TaskWriter
from sluiceway.turn.dispatch import TurnDispatch
from sluiceway.turn.ended import end_status, ending_of
from sluiceway.turn.erasing import TurnErasing
from sluiceway.turn.not_storable import NOT_STORABLE, last_events, reductions
from sluiceway.turn.rebuild import TurnRebuild
from sluiceway.turn.shown import TurnMessage
from sluiceway.wire.events import Abort, Data, Error, Event, Finish
from sluiceway.wire.message import Part
from sluiceway.wire.person_event import TurnEnded, TurnNeedsYou
from sluiceway.wire.task import EndStatus

# Status, code ("" where it did not fail), and seconds since the turn was accepted.
OnEnd = Callable[[EndStatus, str, float], None]
_CANCELLED = "CANCELLED: The turn was stopped before the tool had ended."
_FAILED = "CANCELLED: The turn failed before the tool had ended."


class TurnEnding:
    def __init__(
        self,
        store: Store,
        registry: TaskRegistry,
        writer: TaskWriter,
        reader: TaskReader,
        dispatch: TurnDispatch,
        erasing: TurnErasing,
        people: PersonEvents,
    ) -> None:
        self._store = store
        self._registry = registry
        self._writer = writer
        self._reader = reader
        self._dispatch = dispatch
        self._erasing = erasing
        self._people = people
        self._message = TurnMessage(store, reader)
        self._rebuild = TurnRebuild(store, registry, writer, self._message)
        self._told: OnEnd = _nobody_asks
        self._log = get_logger()

    def tell(self, told: OnEnd) -> None:
        """Call this for each turn that is ended here, once its end is durable: status, code, and its whole seconds."""
        self._told = told

    def ended_unseen(self, task: Task) -> None:
        """A turn was ended by a statement of its caller's, before anybody had begun it."""
        if task.ended_at is not None:
            self._told(end_status(task), "", (task.ended_at - task.created_at).total_seconds())

    async def end(
        self, task: Task, end: TurnEnd, events: Sequence[Event], *, written: int | None = None
    ) -> EndStatus | None:
        """End a turn that this caller holds. `events`: the last ones of its stream. `written`: as of `TurnPause.pause`.

        How it ended: `failed` instead of `completed` where Postgres refuses the answer. None when another attempt holds
        it, or it has ended otherwise. Raises StoreUnavailable, RedisUnavailable; calling it again then is right, also
        when the answer of a commit was lost.
        """
        try:
            ended = await self._store.turns.end(task, end, attempt=task.attempt)
        except NotStorable as error:
            self._log.error("turn_not_storable", task_id=task.id, session_id=task.session_id, reason=str(error))
            reduced, ended = await self._end_reduced(task, end)
            end, events = reduced, last_events(reduced, end, events)
        if ended is None:
            standing = await self._store.turns.get(task.id)
            if standing is None:
                await self.forget(task.id)
                return None
            if standing.attempt != task.attempt:
                return None
            if standing.status != end.status:
                if (standing.error or {}).get("code") != NOT_STORABLE:
                    return None
                # By an earlier call of this, whose answer was lost.
                end, events = replace(end, status="failed"), last_events(replace(end, status="failed"), end, events)
        if ended is not None:
            self._told(end.status, str((end.error or {}).get("code", "")), ended.seconds)
        await self._close(task, end.status, events, ended, written=written, awaits=end.awaits)
        return end.status

    async def _end_reduced(self, task: Task, end: TurnEnd) -> tuple[TurnEnd, Ended | None]:
        """End it with as much as Postgres takes. Raises NotStorable when it is not the data that it refuses."""
        message = await self._store.turns.message(task)
        for reduced in reductions(end, task.id, message.parts if message else ()):
            try:
                return reduced, await self._store.turns.end(task, reduced, attempt=task.attempt)
            except NotStorable as error:
                refused = error
        raise refused

    async def shown(self, task: Task) -> list[Part]:
        """The message as clients have seen it so far."""
        fold, _ = await self._message.shown(task)
        return fold.finished_parts()

    async def end_unheld(
        self, task: Task, status: EndStatus, error: dict[str, str] | None = None, facts: EndFacts | None = None
    ) -> bool:
        """End a live turn that nobody holds, with what its last holder had shown. A holder that still writes is fenced.

        `error` (`code`, `message`) is shown, and kept in the history; `facts` are for operators. False when
        the turn has ended meanwhile.
        """
        claimed = await self._store.turns.claim(task.id, waiting_too=True)
        if claimed is None or claimed.ended:
            return False
        with contextlib.suppress(Fenced):  # it has ended there
            # Before the stream is read: what a holder that lives, or thaws, writes after that would not be kept.
            await self._writer.begin(claimed.fields, claimed.attempt)
        fold, lacking = await self._message.shown(claimed)
        closing = [*fold.abandoned_calls(_FAILED if error else _CANCELLED), *fold.closers()]
        if error is not None:
            closing.append(Data(type="data-error", data=error))
            facts = {**(facts or {}), "told": error["message"]}
        for event in closing:
            fold.add(event)
        metadata = fold.metadata | {"status": status, "taskId": task.id} | ({"error": error} if error else {})
        end = TurnEnd(status=status, parts=fold.finished_parts(), metadata=metadata, error=error, facts=facts)
        last = [Error(error_text=error["message"])] if error else [Abort(), Finish()]
        return await self.end(claimed, end, [*lacking, *closing, *last]) is not None

    async def finalize(self, task: Task) -> None:
        """Do what is left of a turn's end: its stream closed, its user told, the next turn released. Idempotent."""
        meta = await self._registry.meta(task.id)
        events = ending_of(task)
        if meta is not None and not meta.ended:
            fold, lacking = await self._message.shown(task)
            events = [*lacking, *fold.closers(), *events]
        awaits = task.status == "completed" and await self._store.sessions.awaits(task.session_id, task.id)
        await self._close(task, end_status(task), events, awaits=awaits)

    async def forget(self, task_id: str) -> None:
        """Erase the stream of a turn that Postgres does not have any more; its followers see it aborted. Nothing where
        Postgres has it, or Redis does not. Raises StoreUnavailable, RedisUnavailable."""
        meta = await self._registry.meta(task_id)
        if meta is not None and await self._store.turns.get(task_id) is None:
            await self._erasing.erase_stream(task_id)
            # Perhaps its session is gone with it, as after a restore.
            await self._people.begin_anew(meta.user_id)

    async def _close(
        self,
        task: Task,
        status: EndStatus,
        events: Sequence[Event],
        ended: Ended | None = None,
        *,
        written: int | None = None,
        awaits: bool = False,
    ) -> None:
        """Close the stream and release the next turn. `ended`: by this caller, just now, so it knows which that is: a
        turn that was accepted since then is its gateway's to publish. `awaits`: the person's answer is waited for,
        unless a turn follows at once."""
        if await self._writer.close(task.fields, task.attempt, status, events, proof=written) == "lost":
            await self._rebuild.ended(task if task.ended else await self._reloaded(task))
        if ended is None:
            following = await self._store.sessions.active_task(task.session_id)
        else:
            following = await self._store.turns.get(ended.following) if ended.following is not None else None
        owner = task.user_id if ended is None else ended.user_id
        await self._people.tell(owner, _told(task, status, awaits=awaits and following is None))
        if following is not None and following.status == "queued":
            await self._dispatch.publish(following)
        await self._store.turns.finalized(task.id)

    async def _reloaded(self, task: Task) -> Task:
        found = await self._store.turns.get(task.id)
        if found is None:
            raise TaskNotFound
        return found


def _told(task: Task, status: EndStatus, *, awaits: bool) -> TurnEnded | TurnNeedsYou:
    if awaits:
        return TurnNeedsYou(session_id=task.session_id, task_id=task.id)
    return TurnEnded(session_id=task.session_id, task_id=task.id, status=status)


def _nobody_asks(status: EndStatus, code: str, seconds: float) -> None:
    pass
