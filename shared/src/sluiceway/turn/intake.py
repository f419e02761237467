"""What callers of the gateway ask of turns and sessions: accept, answer, cancel, take back, delete, claim.

Guarantees: what was answered is durable in Postgres; Redis learns of it at once, or from the reconciler.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from secrets import token_hex

from sluiceway.errors import RedisUnavailable, SessionNotFound, Unavailable
from sluiceway.feeds.person_events import PersonEvents
from sluiceway.process.logs import get_logger, joined
from sluiceway.store import Store
from sluiceway.store.records import Session, Task
from sluiceway.store.sessions.erasing import Erasure
from sluiceway.store.turns.accepting import AcceptedTurn, NewTurn
from sluiceway.store.turns.approving import ClientOutput, Decision
from sluiceway.store.turns.ending import BY_ITS_OWNER, EndFacts
from sluiceway.stream.registry import TaskRegistry
from sluiceway.turn.background import TurnBackground
from sluiceway.turn.dispatch import TurnDispatch
from sluiceway.turn.ending import TurnEnding
from sluiceway.turn.erasing import TurnErasing
from sluiceway.wire.person_event import PersonEvent, SessionChanged, SessionCreated, SessionDeleted
from sluiceway.wire.task import Status


@dataclass(frozen=True, slots=True)
class CancelResult:
    task_id: str
    status: Status
    already_ended: bool


@dataclass(frozen=True, slots=True)
class AnswerOutcome:
    """What an answer to a tool call led to: the turn that continues with it; or None, while `remaining` other
    calls of the same step wait for an answer."""

    task: Task | None
    remaining: int


class TurnIntake:
    def __init__(
        self,
        store: Store,
        registry: TaskRegistry,
        dispatch: TurnDispatch,
        ending: TurnEnding,
        erasing: TurnErasing,
        people: PersonEvents,
        background: TurnBackground,
    ) -> None:
        self._store = store
        self._registry = registry
        self._dispatch = dispatch
        self._ending = ending
        self._erasing = erasing
        self._people = people
        self._background = background
        self._log = get_logger()

    async def accept(self, turn: NewTurn) -> AcceptedTurn:
        """Store a turn durably, then tell Redis. A repeat answers the same task.

        Raises StoreUnavailable and what `TurnStore.accept` raises; never RedisUnavailable: see `published`.
        """
        accepted = await self._store.turns.accept(replace(turn, traceparent=turn.traceparent or _new_traceparent()))
        task = accepted.task
        published = await self._tell_redis(accepted, temporary=turn.temporary)
        if accepted.created and not accepted.active:
            # It waits. One that runs is told of as a turn that has started.
            await self._people.mention(task.user_id, SessionChanged(session_id=task.session_id))
        if accepted.created:
            self._log.info(
                "turn_accepted",
                task_id=task.id,
                session_id=task.session_id,
                position=accepted.position,
                **joined(task.traceparent, task.user_id),
            )
        return replace(accepted, published=published)

    async def answer(
        self, task_id: str, user_id: str | None, answers: Mapping[str, Decision | ClientOutput]
    ) -> AnswerOutcome:
        """Note what a person or the client said, by the ids of the tool calls, and
        continue when the last of the step is there.

        Raises ApprovalNotFound, ApprovalGone, ApprovalConflict, AccessDenied, StoreUnavailable; not RedisUnavailable.
        """
        answered = await self._store.turns.answer(task_id, user_id, answers)
        if answered.created and answered.task is not None:
            try:
                await self._dispatch.publish_new(answered.task)
            except RedisUnavailable as error:
                self._log.warning("turn_not_published_yet", task_id=answered.task.id, reason=str(error))
        return AnswerOutcome(answered.task, answered.remaining)

    async def cancel(self, task_id: str, user_id: str | None, wish: EndFacts = BY_ITS_OWNER) -> CancelResult:
        """Cancel a turn, wherever it is. A queued one ends here; the holder of a running one sees the flag.
        `wish`: whose it is, for operators.

        Raises TaskNotFound, AccessDenied, StoreUnavailable, RedisUnavailable (the wish is stored all the same).
        """
        task, ended_here = await self._store.turns.request_cancel(task_id, user_id, wish)
        if ended_here:
            self._ending.ended_unseen(task)
            await self._ending.finalize(task)
        elif not task.ended:
            await self._stop(task)
        self._log.info("turn_cancel_requested", task_id=task.id, session_id=task.session_id, status=task.status)
        return CancelResult(task.id, task.status, already_ended=task.ended and not ended_here)

    async def take_back(self, session_id: str, message_id: str, user_id: str | None) -> None:
        """Take back a message that waits, with its turn. Idempotent.

        Raises SessionNotFound, AccessDenied, MessageNotFound, MessageNotWaiting, StoreUnavailable; never
        RedisUnavailable: the reconciler finalizes the turn then.
        """
        task = await self._store.turns.take_back(session_id, user_id, message_id)
        if task is None:
            return
        self._ending.ended_unseen(task)
        self._log.info("message_taken_back", task_id=task.id, session_id=session_id)
        try:
            await self._ending.finalize(task)
        except RedisUnavailable as error:
            self._log.warning("turn_not_finalized_yet", task_id=task.id, reason=str(error))
        await self._people.mention(user_id, SessionChanged(session_id=session_id))

    async def cancel_active(self, session_id: str, user_id: str | None) -> CancelResult | None:
        """Cancel the session's running turn. None: nothing runs."""
        await self._store.sessions.get(session_id, user_id)
        task = await self._store.sessions.active_task(session_id)
        return None if task is None or task.ended else await self.cancel(task.id, user_id)

    async def delete_session(self, session_id: str, user_id: str | None) -> None:
        """Delete a session, here and in Redis; followers of its live turns see them aborted.

        Raises SessionNotFound, AccessDenied, StoreUnavailable; never RedisUnavailable: the reconciler erases then.
        """
        try:
            erasures = await self._store.sessions.delete(session_id, user_id)
        except SessionNotFound:
            # Perhaps it is this very request that deleted it, and the answer was lost.
            await self.erase(await self._store.erasures.of_session(session_id))
            await self._people.mention(user_id, SessionDeleted(session_id=session_id))
            raise
        await self._people.mention(user_id, SessionDeleted(session_id=session_id))
        await self.erase(erasures)

    async def erase(self, erasures: Sequence[Erasure]) -> None:
        """Erase from Redis what was deleted. What cannot be done now is the reconciler's."""
        try:
            await self._erasing.erase(erasures)
        except Unavailable as error:
            self._log.warning("not_erased_yet", turns=len(erasures), reason=str(error))

    async def claim_session(self, session_id: str, user_id: str, before: str | None) -> Session:
        """Make a session of `before` (who the user was when anonymous) his own, and its turns with it. Idempotent.

        Raises SessionNotFound, AccessDenied, StoreUnavailable, RedisUnavailable (sent again, it does the rest).
        """
        session = await self._store.sessions.claim(session_id, user_id, before)
        for task_id in await self._store.sessions.task_ids(session_id):
            await self._registry.set_owner(task_id, user_id)
        if before != user_id:
            await self._people.mention(before, SessionDeleted(session_id=session_id))
        if not session.temporary:
            await self._people.mention(user_id, SessionCreated(session_id=session_id, title=session.title))
        return session

    async def _tell_redis(self, accepted: AcceptedTurn, *, temporary: bool) -> bool:
        """Publish the new turn, and what became of those before it. Of a temporary session no list is told."""
        try:
            for task in accepted.cancelled:
                ended = await self._store.turns.get(task.id)
                if ended is not None:
                    self._ending.ended_unseen(ended)
                    await self._ending.finalize(ended)
            if accepted.interrupted is not None:
                await self._stop(accepted.interrupted)
            for task in accepted.stopped:
                await self._stop(task)
            if accepted.created and accepted.active:
                created: list[PersonEvent] = [SessionCreated(session_id=accepted.task.session_id)]
                await self._dispatch.publish_new(
                    accepted.task, *(created if accepted.session_created and not temporary else ())
                )
            if accepted.made_way is not None:
                await self._background.went(accepted.made_way)
        except RedisUnavailable as error:
            self._log.warning("turn_not_published_yet", task_id=accepted.task.id, reason=str(error))
            return False
        return True

    async def _stop(self, task: Task) -> None:
        """Stop a live turn that was begun: a waiting one ends here, the holder of a running one sees the flag."""
        if task.status == "waiting":
            await self._ending.end_unheld(task, "cancelled")
        else:
            await self._registry.request_cancel(task.id)


def _new_traceparent() -> str:
    """A W3C trace context for a request that brought none."""
    return f"00-{token_hex(16)}-{token_hex(8)}-01"
