"""Catching up: Postgres went back a little (a restore, PITR, a failover to an asynchronous standby), Redis did not.

Every change is made in Postgres first, so a Redis that is ahead of a live turn's row proves that the row was lost. What
Redis says is taken over from the stream: the results of operations, and the whole of an answer that has ended there. A
turn whose holder lives is left to it, under its attempt. Of anything else the stream is dropped, and the turn begins
anew from what Postgres has, under an attempt that no follower has seen. (A turn that Postgres does not have at all is
aborted: `TurnEnding.forget`.)

Methods raise StoreUnavailable and RedisUnavailable; calling them again then is right.
"""

from collections.abc import Sequence
from typing import Literal

from sluiceway.errors import Fenced
from sluiceway.process.logs import get_logger
from sluiceway.store import Store
from sluiceway.store.operations.operation_end import OperationEnd, ReportedEnd
from sluiceway.store.records import Task
from sluiceway.store.turns.ending import TurnEnd
from sluiceway.stream.entry import Entry
from sluiceway.stream.reader import TaskReader
from sluiceway.stream.registry import TaskRegistry
from sluiceway.stream.task_meta import TaskMeta
from sluiceway.turn.dispatch import TurnDispatch
from sluiceway.turn.ending import TurnEnding
from sluiceway.turn.rebuild import TurnRebuild
from sluiceway.turn.shown import UNREADABLE, TurnMessage, fold_entries
from sluiceway.wire.events import BACKGROUND_TYPE, Data, Error, Finish
from sluiceway.wire.message import MessageFold, Part, is_answered
from sluiceway.wire.task import EndStatus

CaughtUp = Literal["turn_adopted", "turn_end_adopted", "turn_restarted", "operation_end_adopted"]
_LOST = {"code": "TURN_FAILED", "message": "The turn failed."}


class TurnCatchUp:
    def __init__(
        self,
        store: Store,
        registry: TaskRegistry,
        reader: TaskReader,
        dispatch: TurnDispatch,
        ending: TurnEnding,
        rebuild: TurnRebuild,
    ) -> None:
        self._store = store
        self._registry = registry
        self._reader = reader
        self._dispatch = dispatch
        self._ending = ending
        self._rebuild = rebuild
        self._message = TurnMessage(store, reader)
        self._log = get_logger()

    async def ahead(self, turns: Sequence[tuple[Task, TaskMeta]]) -> set[str]:
        """Live turns of which Redis perhaps knows more than Postgres. Their rows were read before their metadata."""
        found = {task.id for task, meta in turns if _is_ahead(task, meta)}
        waiting = [(task, meta) for task, meta in turns if task.status == "waiting" and meta.ended_operations]
        if waiting:
            still_open = await self._store.rewinding.open_of([task.id for task, _ in waiting])
            found |= {task.id for task, meta in waiting if meta.ended_operations & still_open.keys()}
        return found

    async def catch_up(self, task_id: str, meta: TaskMeta, *, held: bool) -> CaughtUp | None:
        """Bring Postgres to where the turn is, or the turn to where Postgres is. `meta`: as it was when the turn was
        found to be ahead. `held`: its holder lives. None: it was not ahead, only on its way."""
        task = await self._store.turns.get(task_id)
        if task is None or task.ended:
            return None
        entries = await self._reader.read(task_id)
        fold = await self._fold(task, entries)
        adopted = await self._adopt_operation_ends(task, meta, fold) if fold is not None else 0
        if not _is_ahead(task, meta):
            return self._told(task, meta, "operation_end_adopted") if adopted else None
        if held and meta.status != "running":
            return None  # its holder is about to let go
        if held:
            adopted = await self._store.rewinding.adopt(task, meta.attempt)
            return self._told(task, meta, "turn_adopted") if adopted else None
        if fold is not None and await self._adopt_end(task, meta, fold, entries):
            return self._told(task, meta, "turn_end_adopted")
        return await self._restart(task, meta)

    async def _fold(self, task: Task, entries: Sequence[Entry]) -> MessageFold | None:
        """What the stream shows; None where it cannot be read, or lacks its beginning."""
        try:
            fold = fold_entries(entries, await self._message.durable(task))
        except UNREADABLE:
            self._log.exception("turn_unreadable", task_id=task.id, session_id=task.session_id)
            return None
        return fold if fold.started else None

    async def _adopt_operation_ends(self, task: Task, meta: TaskMeta, fold: MessageFold) -> int:
        """End the operations whose end the stream has shown; how many. The reconciler queues the step that follows."""
        calls, adopted = fold.calls(), 0
        for operation in await self._store.operations.of_task(task.id):
            part = calls.get(operation.tool_call_id)
            if not operation.open or part is None or not is_answered(part) or part["state"] == "output-denied":
                continue
            if operation.id not in meta.ended_operations and not _is_ahead(task, meta):
                continue
            reported = ReportedEnd(operation.id, task.id, _end_of(part), digest="")
            outcome = await self._store.completions.complete(reported)
            adopted += outcome.kind == "applied"
        return adopted

    async def _adopt_end(self, task: Task, meta: TaskMeta, fold: MessageFold, entries: Sequence[Entry]) -> bool:
        """End the turn as its stream has ended. False: that has not, or not with an end of all its calls."""
        status = meta.status
        if status not in ("completed", "failed", "cancelled"):
            return False
        if status == "completed" and any(_tells_of_background(entry) for entry in entries):
            return False  # it has no answer: that was in the turn that continued it
        if entries[-1].entry_id != meta.terminal or fold.abandoned_calls(""):
            return False
        if any(one.open for one in await self._store.operations.of_task(task.id)):
            return False
        end = _turn_end(task, status, fold, entries)
        return await self._ending.end(task, end, [Finish()]) is not None

    async def _restart(self, task: Task, meta: TaskMeta) -> CaughtUp | None:
        # Operations whose ends were adopted have changed the row, but not its attempt.
        raised = await self._store.rewinding.overtake(task, meta.attempt)
        if raised is None:
            return None
        await self._registry.drop(task.id)
        if raised.status == "waiting" and (raised.open_operations or raised.background_at is not None):
            try:
                await self._rebuild.waiting(raised)
            except Fenced:
                return None  # its operations have ended meanwhile, and a worker has it
        else:
            await self._dispatch.publish(raised)
        return self._told(task, meta, "turn_restarted")

    def _told(self, task: Task, meta: TaskMeta, did: CaughtUp) -> CaughtUp:
        """An error: somebody has lost what was committed."""
        self._log.error(
            "turn_was_ahead",
            did=did,
            task_id=task.id,
            session_id=task.session_id,
            status=task.status,
            attempt=task.attempt,
            redis_status=meta.status,
            redis_attempt=meta.attempt,
        )
        return did


def _is_ahead(task: Task, meta: TaskMeta) -> bool:
    """Whether Redis was told more of a live turn than its row says."""
    return (
        meta.ended
        or meta.attempt > task.attempt
        or (meta.attempt == task.attempt and meta.status == "waiting" and task.status != "waiting")
    )


def _tells_of_background(entry: Entry) -> bool:
    return isinstance(entry.event, Data) and entry.event.type == BACKGROUND_TYPE


def _end_of(part: Part) -> OperationEnd:
    """How the operation of a call that is answered has ended. (A longer result than was shown is gone.)"""
    if part["state"] == "output-available":
        return OperationEnd("succeeded", output=part["output"], shown=part["output"])
    kind, colon, message = str(part["errorText"]).partition(": ")
    return OperationEnd(
        "failed", error={"type": kind, "message": message} if colon else {"type": "FAILED", "message": kind}
    )


def _turn_end(task: Task, status: EndStatus, fold: MessageFold, entries: Sequence[Entry]) -> TurnEnd:
    error = _error_of(fold, entries) if status == "failed" else None
    told = {**fold.metadata, "status": status, "taskId": task.id} | ({"error": error} if error else {})
    usage = fold.metadata.get("usage")
    return TurnEnd(status, fold.finished_parts(), told, error, usage if isinstance(usage, dict) else None)


def _error_of(fold: MessageFold, entries: Sequence[Entry]) -> dict[str, str]:
    told = [part["data"] for part in fold.parts if part["type"] == "data-error" and isinstance(part["data"], dict)]
    if told:
        return dict(told[-1])
    last = entries[-1].event
    return {**_LOST, "message": last.error_text} if isinstance(last, Error) else _LOST
