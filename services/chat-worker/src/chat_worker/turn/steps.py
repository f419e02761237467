"""Which step of a turn comes next, until the turn has ended or waits: for operations, a person, or its model."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from sluiceway.errors import Fenced, Forgotten
from sluiceway.process.logs import get_logger
from sluiceway.queue.worker import persistently
from sluiceway.store import Store
from sluiceway.store.records import ASKING, Task
from sluiceway.stream.entry import Entry
from sluiceway.wire.tools import CLIENT_QUEUE
from sluiceway_llm.calling.model import Model
from sluiceway_llm.model_events import Reached

from chat_worker.attempt import Attempt
from chat_worker.context.context import Prepared, too_long
from chat_worker.steering import what_became_of_it
from chat_worker.step.ending import Exits, StepEnding
from chat_worker.step.offer import BrokeOff, NotContinued, Offer, Outcome, TooLong, Unfit
from chat_worker.step.step import Step
from chat_worker.turn.answering import Answering
from chat_worker.turn.forms import not_of_that_form
from chat_worker.turn.opening import Opening
from chat_worker.turn.requests import Requests

_MOST_BREAKS = 3


class TurnSteps:
    def __init__(self, store: Store, client: Model, requests: Requests, opening: Opening, exits: Exits) -> None:
        self._store = store
        self._client = client
        self._requests = requests
        self._opening = opening
        self._exits = exits
        self._log = get_logger()

    async def run(self, turn: Answering, entries: Sequence[Entry]) -> Outcome:
        """Take over what its stream has, and make steps until the turn has ended or waits."""
        await self._opening.open(turn, entries, turn.able(self._client))
        if refusal := self._requests.refusal(turn):
            return await self._step(turn).ending.fail(*refusal)
        outcome = await self._first_step(turn)
        while outcome == "running":
            outcome = await self._look_for_answers(turn) or await self._next_step(turn)
        if outcome == "completed":
            await self._requests.look_ahead(turn)
        return outcome

    async def cancel(self, attempt: Attempt, reached: Reached | None) -> Outcome:
        """End a turn that is cancelled already. Nothing is reset first: what a dead predecessor had shown is what the
        user stopped at."""
        fold = await self._opening.as_it_was_left(attempt.task, attempt.writer)
        outcome = await Step(attempt, fold, self._exits).ending.cancel()
        if reached is not None:
            await self._client.abandon(reached)
        return outcome

    async def _first_step(self, turn: Answering) -> Outcome:
        """Of a message that is a command, its tool's call; else what an earlier worker left, or the model's."""
        if turn.durable.parts:
            return "running" if turn.durable.asks else await self._next_step(turn)
        if turn.task.steers is not None:
            turn.attempt.writer.write(what_became_of_it(turn.task))
            if (gave_way := await self._give_way(turn)) is not None:
                return gave_way
        call = await self._requests.command(turn)
        if call is None:
            return await self._model_step(turn)
        ending = self._step(turn).ending
        return await (ending.say(call) if isinstance(call, str) else ending.call([call], self._requests.of_commands))

    async def _next_step(self, turn: Answering) -> Outcome:
        return await self._give_way(turn) or await self._model_step(turn)

    async def _give_way(self, turn: Answering) -> Outcome | None:
        """Between two steps the turn ends for a message that steers it. None: there is none, or a step is open."""
        if turn.fold.step_open:
            return None
        to = await persistently(lambda: self._store.turns.steering(turn.task))
        return await self._step(turn).ending.give_way(to) if to is not None else None

    async def _model_step(self, turn: Answering) -> Outcome:
        step, offer = self._step(turn), self._requests.offer(turn)
        if offer.max_chars == 0:
            return await step.ending.end_full(turn.model)
        sent = await self._requests.prepare(turn, offer, step.showing)
        if sent is None:
            return await step.ending.cancel()
        try:
            outcome = await self._asked(turn, step, offer, sent)
        except NotContinued as error:
            self._log.warning("continuation_refused", code=str(error))
            if turn.reached is not None:
                await self._client.abandon(turn.reached)
            turn.reached = None
            await self._opening.restart_step(turn)
            return await self._model_step(turn)
        except BrokeOff as error:
            self._log.warning("answer_broke_off", code=str(error), model=turn.model)
            turn.broke_off, turn.continues = turn.broke_off + 1, True
            return await self._model_step(turn)
        except Unfit as unfit:
            return await self._again(turn, unfit)
        except TooLong as refusal:
            if self._requests.shorten(turn, refusal.error, sent):
                return await self._model_step(turn)
            return await self._step(turn).ending.fail(refusal.error.code, too_long(sent))
        turn.reached, turn.continues = None, False
        return outcome

    async def _again(self, turn: Answering, unfit: Unfit) -> Outcome:
        """Ask once more for an answer that was not of the form that was asked for; what was shown of it is replaced."""
        self._log.info("answer_unfit", again=turn.unfit is None)
        turn.reached = None
        if turn.unfit is not None:
            return await self._step(turn).ending.fail(*not_of_that_form(unfit))
        turn.unfit = unfit
        await self._opening.restart_step(turn)
        return await self._model_step(turn)

    async def _asked(self, turn: Answering, step: Step, offer: Offer, sent: Prepared) -> Outcome:
        try:
            request = self._requests.request(turn, offer, sent)
            breaks = max(0, _MOST_BREAKS - turn.broke_off) if self._client.continues else 0
            tries = replace(self._requests.tries(turn), breaks=breaks)
            return await step.run(self._client, request, tries, offer, sent)
        except Forgotten:
            raise  # the step has ended its answer
        except (Fenced, asyncio.CancelledError):
            if step.reached is not None and await self._opening.is_unknown(turn.task, step.reached):
                await self._client.abandon(step.reached)
            raise

    async def _look_for_answers(self, turn: Answering) -> Outcome | None:
        """Run what a person has approved; where calls wait for one, or for the client, the turn ends. None: nothing of
        that kind waits any more."""
        task = turn.task
        while True:
            operations = await persistently(lambda: self._store.operations.of_task(task.id))
            asked = [one for one in operations if one.status in ASKING]
            if not asked:
                if any(one.queue == CLIENT_QUEUE and one.tool_call_id not in turn.fold.told for one in operations):
                    await self._opening.show_answers(turn)
                return None
            ending = self._step(turn).ending
            if any(one.approval is not None for one in asked):
                turn.attempt.background.update(one.tool_call_id for one in asked if one.approval and one.background)
                return await ending.begin_approved()
            if turn.attempt.background:
                return await self._block(turn, ending)
            ended = await ending.await_person()
            if ended is not None:
                return ended
            if await self._is_lost(task):
                raise Fenced(f"task {task.id}: ended or taken over by another")

    async def _block(self, turn: Answering, ending: StepEnding) -> Outcome:
        """A turn that is to ask its person ends for that: what runs in the background is waited for before."""
        outcome = await ending.block()
        if outcome == "running":
            await self._opening.show_answers(turn)
        return outcome

    async def _is_lost(self, task: Task) -> bool:
        standing = await persistently(lambda: self._store.turns.get(task.id))
        return standing is None or (standing.status, standing.attempt) != ("running", task.attempt)

    def _step(self, turn: Answering) -> Step:
        return Step(turn.attempt, turn.fold, self._exits)
