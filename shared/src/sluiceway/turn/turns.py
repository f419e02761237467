"""A turn across Postgres and Redis: accept, publish, cancel, end, find. What gateway, workers and reconciler share.

Order of effects: Postgres first, always. What Redis misses of it (a crash in between, Redis away) is done again by
whoever finds it: `publish` and `finalize` are idempotent, and the reconciler calls them for what is left.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from secrets import token_hex

from sluiceway.errors import Fenced, RedisUnavailable, SessionNotFound, TaskExpired, TaskNotFound
from sluiceway.operation.publishing import Operations
from sluiceway.process.logs import get_logger
from sluiceway.queue.work_queue import Producer
from sluiceway.store import Store
from sluiceway.store.accepting import AcceptedTurn, NewTurn
from sluiceway.store.approving import ApprovalAnswer as Answer
from sluiceway.store.ending import Ended, TurnEnd
from sluiceway.store.operations import NewOperation
from sluiceway.store.records import Operation, Session, Task
from sluiceway.store.sessions import check_owner
from sluiceway.store.turns import LetGo, Paused
from sluiceway.stream.task_streams import TaskMeta, TaskStreams
from sluiceway.turn.recovery import Durable, as_shown
from sluiceway.wire.events import Abort, Data, Error, Event, Finish, Start
from sluiceway.wire.jobs import ChatJob
from sluiceway.wire.message import MessageFold, Part, replay_of
from sluiceway.wire.task import EndStatus, Status, TaskFields

__all__ = ["Accepted", "Answer", "ApprovalOutcome", "CancelResult", "Followed", "NewTurn", "Turns", "ending_of"]

# Who holds a turn that waits, while its stream is told again; one that was deleted, and one that nobody goes on with,
# while their streams are closed.
REBUILDING = "restored"
DELETED = "deleted"
ENDED = "ended"
_CANCELLED = "CANCELLED: The turn was stopped before the tool had ended."
_FAILED = "CANCELLED: The turn failed before the tool had ended."


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to a request for a turn. `position`: how many live turns of the session come before it.

    `published`: whether Redis has it already; if not, it is stored all the same, and will be.
    """

    task_id: str
    session_id: str
    message_id: str
    user_message_id: str
    status: Status
    position: int
    created: bool
    published: bool


@dataclass(frozen=True, slots=True)
class CancelResult:
    task_id: str
    status: Status
    already_ended: bool


@dataclass(frozen=True, slots=True)
class Followed:
    """A task that its caller may follow. `meta` is None while Redis does not know it (it waits in Postgres)."""

    task_id: str
    session_id: str
    message_id: str
    status: Status
    meta: TaskMeta | None


@dataclass(frozen=True, slots=True)
class ApprovalOutcome:
    """What a person's answer to a tool call led to: the turn that goes on with it; or None, while `remaining` other
    calls of the same step wait for an answer."""

    task: Task | None
    remaining: int


class Turns:
    def __init__(self, store: Store, streams: TaskStreams, queue: Producer, operations: Operations) -> None:
        self._store = store
        self._streams = streams
        self._queue = queue
        self._operations = operations
        self._log = get_logger()

    async def accept(self, turn: NewTurn) -> Accepted:
        """Store a turn durably, then tell Redis. A repeat answers the same task.

        Raises StoreUnavailable and what `TurnStore.accept` raises; never RedisUnavailable: see `published`.
        """
        accepted = await self._store.turns.accept(replace(turn, traceparent=turn.traceparent or _new_traceparent()))
        task = accepted.task
        published = await self._tell_redis(accepted)
        if accepted.created:
            self._log.info("turn_accepted", task_id=task.id, session_id=task.session_id, position=accepted.position)
        return Accepted(
            task_id=task.id,
            session_id=task.session_id,
            message_id=task.message_id,
            user_message_id=task.user_message_id,
            status=task.status,
            position=accepted.position,
            created=accepted.created,
            published=published,
        )

    async def publish(self, task: Task) -> None:
        """Let a queued turn run: its metadata and a queue entry. A second entry is harmless, and is avoided."""
        if not await self._streams.create(task.fields):
            meta = await self._streams.meta(task.id)
            if meta is not None and meta.queue_entry and await self._queue.holds(meta.queue_entry):
                return
        await self._streams.set_queue_entry(task.id, await self._enqueue(task))

    async def resume(self, task: Task, ended: Operation, output: Sequence[Event]) -> None:
        """Show how the last operation of a turn has ended, and queue the turn's next step. Raises RedisUnavailable: it
        is right to do it again then; a second entry is harmless."""
        queued = self._queue.adding(_job_of(task).encode())
        (answer,) = await self._streams.end_operation(task.id, ended.id, output, [queued])
        await self._streams.set_queue_entry(task.id, self._queue.entry_id(answer))

    async def pause(
        self,
        task: Task,
        parts: list[Part],
        operations: Sequence[NewOperation],
        usage: dict[str, int] | None,
        *,
        written: int | None = None,
    ) -> Paused:
        """End a step with tool calls: durable first, then they are queued. See `TurnStore.pause`. `written`: the last
        batch of the writer, by which Redis tells whether it has all that was said.

        Raises StoreUnavailable, RedisUnavailable; calling it again then is right.
        """
        return await self._let_run(task, await self._store.turns.pause(task, parts, operations, usage), written)

    async def begin_approved(self, task: Task, *, written: int | None = None) -> Paused:
        """Let the calls that a person has approved be run. Raises as `pause`."""
        return await self._let_run(task, await self._store.turns.begin_approved(task), written)

    async def answer(self, task_id: str, user_id: str | None, answers: dict[str, Answer]) -> ApprovalOutcome:
        """Note a person's answers, by the ids of the tool calls, and go on when the last of the step is there.

        Raises ApprovalNotFound, ApprovalGone, ApprovalConflict, AccessDenied, StoreUnavailable; not RedisUnavailable.
        """
        answered = await self._store.turns.answer(task_id, user_id, answers)
        if answered.created and answered.task is not None:
            try:
                await self._publish_new(answered.task)
            except RedisUnavailable as error:
                self._log.warning("turn_not_published_yet", task_id=answered.task.id, reason=str(error))
        return ApprovalOutcome(answered.task, answered.remaining)

    async def rebuild(self, task: Task) -> None:
        """Tell the whole stream of a turn that waits for its operations again: Redis has forgotten it, or some of it.

        Raises Fenced when it does not wait any more, or somebody else does this.
        """
        # A new attempt: what followers have seen of the lost entries is not told again under the same ids.
        raised = await self._store.turns.raise_attempt(task)
        if raised is None:
            raise Fenced(f"task {task.id}: waits no more, or is another's")
        operations = await self._store.operations.of_task(task.id)
        durable = await self.durable(raised)
        await self._streams.create(raised.fields)
        await self._streams.begin(raised.fields, raised.attempt, REBUILDING, anew=True)
        events = [Start(message_id=task.message_id), *replay_of(durable.own)]
        await self._streams.append(task.id, raised.attempt, 1, events)
        # A completion that is delivered again is not shown again.
        shown = {f"op:{one.id}": "end" for one in operations if not one.open}
        await self._streams.wait(task.id, raised.attempt, shown, written=1)

    async def _let_run(self, task: Task, let_go: LetGo, written: int | None) -> Paused:
        """Redis learns that the turn waits before anybody can run, and end, one of its operations."""
        if let_go.paused == "waiting":
            queued = self._operations.adding(let_go.operations)
            verdict, answers = await self._streams.wait_and(task.id, task.attempt, {}, queued, written=written)
            if verdict == "lost":
                with contextlib.suppress(Fenced):  # then somebody else has restored it
                    await self.rebuild(task)
            await self._operations.note(let_go.operations, answers)
        return let_go.paused

    async def _publish_new(self, task: Task) -> None:
        """The same for a turn that nobody has published yet, in fewer round trips: the first token waits for them."""
        entry_id, _ = await asyncio.gather(self._enqueue(task), self._streams.create(task.fields))
        await self._streams.set_queue_entry(task.id, entry_id)

    async def _enqueue(self, task: Task) -> str:
        return await self._queue.add(_job_of(task).encode())

    async def cancel(self, task_id: str, user_id: str | None) -> CancelResult:
        """Cancel a turn, wherever it is. A queued one ends here; the holder of a running one sees the flag.

        Raises TaskNotFound, AccessDenied, StoreUnavailable, RedisUnavailable (the wish is stored all the same).
        """
        task, ended_here = await self._store.turns.request_cancel(task_id, user_id)
        if ended_here:
            await self.finalize(task)
        elif task.status == "waiting":
            await self.end_unheld(task, "cancelled")
        elif not task.ended:
            await self._streams.request_cancel(task.id)
        self._log.info("turn_cancel_requested", task_id=task.id, session_id=task.session_id, status=task.status)
        return CancelResult(task.id, task.status, already_ended=task.ended and not ended_here)

    async def cancel_active(self, session_id: str, user_id: str | None) -> CancelResult | None:
        """Cancel the session's running turn. None: nothing runs."""
        await self._store.sessions.get(session_id, user_id)
        task = await self._store.sessions.active_task(session_id)
        return None if task is None or task.ended else await self.cancel(task.id, user_id)

    async def delete_session(self, session_id: str, user_id: str | None) -> None:
        """Delete a session; followers of its live turns see them aborted.

        Raises SessionNotFound, AccessDenied, StoreUnavailable, RedisUnavailable (sent again, it does the rest).
        """
        try:
            live = await self._store.sessions.delete(session_id, user_id)
        except SessionNotFound:
            # Perhaps it is this very request that deleted it, and the answer was lost.
            active = await self._streams.active(session_id)
            if active is not None:
                await self.forget(active)
            raise
        for task in live:
            await self._abort(task.fields, task.attempt)

    async def forget(self, task_id: str) -> None:
        """Abort the stream of a turn that was deleted with its session. Raises StoreUnavailable, RedisUnavailable."""
        meta = await self._streams.meta(task_id)
        if meta is not None and not meta.ended and await self._store.turns.get(task_id) is None:
            await self._abort(meta.fields, meta.attempt)

    async def _abort(self, task: TaskFields, attempt: int) -> None:
        """End a stream, of which Postgres knows nothing any more, with what it has shown. Its holder is fenced."""
        with contextlib.suppress(Fenced):  # it has ended
            await self._streams.begin(task, attempt + 1, DELETED)
            entries = await self._streams.read(task.task_id)
            fold, _ = as_shown(entries, Durable())
            last = [*fold.abandoned_calls(_CANCELLED), *fold.closers(), Abort(), Finish()]
            await self._streams.close(task, attempt + 1, "cancelled", last, proof=None if entries else "anew")

    async def claim_session(self, session_id: str, user_id: str) -> Session:
        """Make an anonymous session the user's own, and its turns with it. Idempotent.

        Raises SessionNotFound, AccessDenied, StoreUnavailable, RedisUnavailable (sent again, it does the rest).
        """
        session = await self._store.sessions.claim(session_id, user_id)
        for task_id in await self._store.sessions.task_ids(session_id):
            await self._streams.set_owner(task_id, user_id)
        return session

    async def end(self, task: Task, end: TurnEnd, events: Sequence[Event], *, written: int | None = None) -> bool:
        """End a turn that this caller holds: the answer durable first, then the stream's last events. `written`: as of
        `pause`.

        False when another attempt holds it, or it has ended otherwise. Raises StoreUnavailable, RedisUnavailable;
        calling it again then is right, also when the answer of a commit was lost.
        """
        ended = await self._store.turns.end(task, end, attempt=task.attempt)
        if ended is None:
            standing = await self._store.turns.get(task.id)
            if standing is None:
                await self.forget(task.id)
                return False
            if (standing.status, standing.attempt) != (end.status, task.attempt):
                return False
        await self._close(task, end.status, events, ended, written=written)
        return True

    async def end_unheld(self, task: Task, status: EndStatus, error: dict[str, str] | None = None) -> bool:
        """End a live turn that nobody holds, with what its last holder had shown. Whoever may still write is fenced.

        `error` (`code`, `message`) is shown, and kept in the history. False when the turn has ended meanwhile.
        """
        claimed = await self._store.turns.claim(task.id, waiting_too=True)
        if claimed is None or claimed.ended:
            return False
        with contextlib.suppress(Fenced):  # it has ended there
            # Before the stream is read: what a holder that lives, or thaws, writes after that would not be kept.
            await self._streams.begin(claimed.fields, claimed.attempt, ENDED)
        fold, lacking = await self.partial(claimed)
        closing = [*fold.abandoned_calls(_FAILED if error else _CANCELLED), *fold.closers()]
        if error is not None:
            closing.append(Data(type="data-error", data=error))
        for event in closing:
            fold.add(event)
        metadata = {"status": status, "taskId": task.id} | ({"error": error} if error else {})
        end = TurnEnd(status=status, parts=fold.finished_parts(), metadata=metadata, error=error)
        last = [Error(error_text=error["message"])] if error else [Abort(), Finish()]
        return await self.end(claimed, end, [*lacking, *closing, *last])

    async def finalize(self, task: Task) -> None:
        """See the effects of a turn's end through: its stream closed, the next turn released. Idempotent."""
        meta = await self._streams.meta(task.id)
        events = ending_of(task)
        if meta is not None and not meta.ended:
            fold, lacking = await self.partial(task)
            events = [*lacking, *fold.closers(), *events]
        await self._close(task, _end_status(task), events)

    async def partial(self, task: Task) -> tuple[MessageFold, list[Event]]:
        """The turn's message so far, as a crashed holder had shown it, and the chunks that the stream lacks of it."""
        entries, durable = await asyncio.gather(self._streams.read(task.id), self.durable(task))
        return as_shown(entries, durable)

    async def durable(self, task: Task) -> Durable:
        """What Postgres has of the turn's message."""
        message, operations = await asyncio.gather(
            self._store.turns.message(task), self._store.operations.of_task(task.id)
        )
        calls = frozenset(one.tool_call_id for one in operations)
        asks = any(one.status == "approval" for one in operations)
        return Durable(message.parts if message else [], task.parts_before, calls, asks)

    async def find(self, task_id: str, user_id: str | None) -> Followed:
        """The task, for its owner. Redis answers for what it knows, without Postgres.

        Raises TaskNotFound, TaskExpired (ended, and its stream is gone), AccessDenied.
        """
        meta = await self._streams.meta(task_id)
        if meta is not None:
            check_owner(meta.user_id, user_id)
            return Followed(meta.task_id, meta.session_id, meta.message_id, meta.status, meta)
        task = await self._store.turns.get(task_id)
        if task is None:
            raise TaskNotFound
        check_owner(task.user_id, user_id)
        if task.ended and task.settled_at is not None:
            raise TaskExpired
        return Followed(task.id, task.session_id, task.message_id, task.status, None)

    async def active(self, session_id: str, user_id: str | None) -> Followed | None:
        """The session's running turn, for its owner; None when nothing runs or the session is unknown.

        One or two reads of Redis when it knows; Postgres where it does not.
        """
        task_id = await self._streams.active(session_id)
        meta = await self._streams.meta(task_id) if task_id is not None else None
        if meta is not None and not meta.ended:
            check_owner(meta.user_id, user_id)
            return Followed(meta.task_id, meta.session_id, meta.message_id, meta.status, meta)
        task = await self._store.sessions.active_task(session_id)
        if task is None or task.ended:
            return None
        check_owner(task.user_id, user_id)
        return Followed(task.id, task.session_id, task.message_id, task.status, await self._streams.meta(task.id))

    async def _tell_redis(self, accepted: AcceptedTurn) -> bool:
        """Publish the new turn, and what an interrupt did to those before it."""
        try:
            for task in accepted.cancelled:
                ended = await self._store.turns.get(task.id)
                if ended is not None:
                    await self.finalize(ended)
            if accepted.interrupted is not None:
                await self._interrupt(accepted.interrupted)
            if accepted.created and accepted.active:
                await self._publish_new(accepted.task)
        except RedisUnavailable as error:
            self._log.warning("turn_not_published_yet", task_id=accepted.task.id, reason=str(error))
            return False
        return True

    async def _interrupt(self, task: Task) -> None:
        if task.status == "waiting":
            await self.end_unheld(task, "cancelled")
        else:
            await self._streams.request_cancel(task.id)

    async def _close(
        self,
        task: Task,
        status: EndStatus,
        events: Sequence[Event],
        ended: Ended | None = None,
        *,
        written: int | None = None,
    ) -> None:
        """Close the stream and release the next turn. `ended`: by this caller, just now, so it knows which that is: a
        turn that was accepted since then is its gateway's to publish."""
        if await self._streams.close(task.fields, task.attempt, status, events, proof=written) == "lost":
            await self._rebuild_closed(task if task.ended else await self._reloaded(task))
        if ended is None:
            following = await self._store.sessions.active_task(task.session_id)
        else:
            following = await self._store.turns.get(ended.following) if ended.following is not None else None
        if following is not None and following.status == "queued":
            await self.publish(following)
        await self._store.turns.finalized(task.id)

    async def _rebuild_closed(self, task: Task) -> None:
        """Tell the whole stream of an ended turn again, of which Redis has forgotten all or perhaps the last of it.

        Under the number that would be the next attempt's: see `rebuild`. Done again, it says the same.
        """
        durable = await self.durable(task)
        await self._streams.create(task.fields)
        events = [*replay_of(durable.own), *ending_of(task)]
        await self._streams.close(task.fields, task.attempt + 1, _end_status(task), events, proof="anew")
        self._log.warning("stream_rebuilt", task_id=task.id, session_id=task.session_id, status=task.status)

    async def _reloaded(self, task: Task) -> Task:
        found = await self._store.turns.get(task.id)
        if found is None:
            raise TaskNotFound
        return found


def _job_of(task: Task) -> ChatJob:
    return ChatJob(task_id=task.id, traceparent=task.traceparent)


def _end_status(task: Task) -> EndStatus:
    if task.status not in ("completed", "failed", "cancelled"):
        raise ValueError(f"task {task.id} has not ended")
    return task.status


def ending_of(task: Task) -> list[Event]:
    """The last chunks of a turn that has ended, from what Postgres knows of it."""
    match task.status:
        case "failed":
            error = task.error or {}
            return [Error(error_text=str(error.get("message", "The turn failed.")))]
        case "cancelled":
            return [Abort(), Finish()]
        case _:
            return [Finish(finish_reason="stop")]


def _new_traceparent() -> str:
    """A W3C trace context for a request that brought none."""
    return f"00-{token_hex(16)}-{token_hex(8)}-01"
