"""Turns in the background, across Postgres and Redis; see store/background.py and store/continuing.py.

The stream of a turn in the background stays open: it shows how its operations get on, and ends when the last of them
has. That it went there is told in it once (`data-background`), for followers who want the answer alone: the gateway
ends theirs there.

A turn whose answer is whole while calls of it run in the background goes there itself (`TurnPause.step_back`).

Methods raise StoreUnavailable and RedisUnavailable; calling them again then is right, and the reconciler does.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sluiceway.errors import NotStorable
from sluiceway.process.logs import get_logger
from sluiceway.store import Store
from sluiceway.store.records import Task
from sluiceway.store.turns.background import MadeWay
from sluiceway.stream.operation_output import OperationOutput
from sluiceway.stream.registry import TaskRegistry
from sluiceway.turn.dispatch import TurnDispatch
from sluiceway.turn.ending import TurnEnding
from sluiceway.turn.shown import TOLD_BACKGROUND, went_into_background
from sluiceway.wire.events import Event
from sluiceway.wire.message import calls_in, output_of

# In a task's metadata in Redis, in the place of an operation's end: the rest of its answer is shown.
_ANSWERED = "answer"


@dataclass(frozen=True, slots=True)
class Answer:
    """Of a turn that goes into the background with its answer. `last`: what is to be shown of that yet. `told`: the
    calls whose ends its stream shows."""

    last: Sequence[Event]
    told: Collection[str]


class TurnBackground:
    def __init__(
        self,
        store: Store,
        registry: TaskRegistry,
        output: OperationOutput,
        dispatch: TurnDispatch,
        ending: TurnEnding,
    ) -> None:
        self._store = store
        self._registry = registry
        self._output = output
        self._dispatch = dispatch
        self._ending = ending
        self._log = get_logger()

    async def tell(self, task: Task) -> None:
        """Tell those who follow a turn that it is in the background. It changes nothing where they know."""
        await self._output.show(task.id, TOLD_BACKGROUND, [went_into_background(task)], final=True)

    async def make_way(self, task: Task) -> bool:
        """Put a turn that only waits for operations into the background, where a message waits that need not; that is
        answered then. False: none does, or the turn waits no more."""
        made = await self._store.background.make_way(task)
        if made is None:
            return False
        await self.went(made)
        return True

    async def went(self, made: MadeWay) -> None:
        """Do what follows in Redis: the turn that became active is queued, and followers are told."""
        task = made.background
        self._log.info("turn_made_way", task_id=task.id, session_id=task.session_id, following=made.following)
        following = await self._store.turns.get(made.following) if made.following is not None else None
        if following is not None and following.status == "queued":
            await self._dispatch.publish(following)
        await self._registry.inactive(task.session_id, task.id)
        await self.tell(task)

    async def stepped_back(self, made: MadeWay, answer: Answer) -> None:
        """As `went`, of a turn that went there with its answer. What calls came to while it ran is shown now; and it is
        continued at once, where none is open any more."""
        task = made.background
        await self._output.show(task.id, _ANSWERED, answer.last, final=True)
        await self.went(made)
        message = await self._store.turns.message(task)
        ended = calls_in(message.parts if message is not None else ())
        for operation in await self._store.operations.of_task(task.id):
            part = ended.get(operation.tool_call_id)
            event = output_of(part) if part is not None and operation.tool_call_id not in answer.told else None
            if event is not None:
                await self._output.show(task.id, operation.id, [event], final=True)
        await self.carry_on(task)

    async def carry_on(self, task: Task) -> bool:
        """End a turn in the background that waits for nothing any more, and queue the turn that continues it. False: it
        is done, or not yet due."""
        shown = await self._ending.shown(task)
        try:
            continued = await self._store.background.carry_on(task, shown)
        except NotStorable:
            continued = await self._store.background.carry_on(task)
        if continued is None:
            return False
        by = continued.by.id if continued.by is not None else None
        self._log.info("turn_continued_by", task_id=task.id, session_id=task.session_id, by=by)
        self._ending.ended_unseen(continued.ended)
        # This queues the turn that continues it, where that is the session's active one.
        await self._ending.finalize(continued.ended)
        if continued.made_way is not None:
            await self.went(continued.made_way)
        return True
