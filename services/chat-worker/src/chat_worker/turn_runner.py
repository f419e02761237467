"""Running a claimed turn, step by step, until it has ended or waits for its operations, or for its model.

Guarantees: whichever way a run ends, its writer is closed; a run that breaks off gives the turn up, so that its
successor need not wait for its lease to run out. An error that nobody foresaw (neither of what we stand on, nor of the
data, nor of a successor) is tried again once; a turn whose model was called again for it ends, with an error that its
user sees.
"""

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from sluiceway.errors import Fenced, Forgotten, NotStorable, Unavailable
from sluiceway.operation.catalogue import Catalogue
from sluiceway.process.logs import get_logger
from sluiceway.queue.worker import persistently
from sluiceway.store import Store
from sluiceway.store.records import ASKING, Task
from sluiceway.store.understandings import Acquaintance
from sluiceway.stream.entry import Entry
from sluiceway.stream.reader import TaskReader
from sluiceway.stream.writer import Begun, TaskWriter
from sluiceway.tracing.spans import current
from sluiceway.turn.ending import TurnEnding
from sluiceway.turn.not_storable import ERROR
from sluiceway.turn.pause import TurnPause
from sluiceway.turn.shown import Durable, TurnMessage, untold
from sluiceway.wire.client_tools import specs_of, stored
from sluiceway.wire.tools import CLIENT_QUEUE, ToolSpec
from sluiceway_llm.model import Model, ModelRequest, Reached
from sluiceway_llm.prices import Prices
from sluiceway_llm.retry import Patience

from chat_worker.account import Account
from chat_worker.answering import Answering, Note
from chat_worker.context.context import Context, Held, Prepared, too_long
from chat_worker.direct import SIGN_IN, has_signed_in, to_call
from chat_worker.flusher import Flusher
from chat_worker.metrics import Metrics, TurnMeter
from chat_worker.model_wait import ModelWait
from chat_worker.prompt import to_model_messages
from chat_worker.settings import Settings
from chat_worker.step import MODEL_CALLS, NotContinued, Offer, Outcome, Step, TooLong, Tries
from chat_worker.system_prompt import PromptSource, filled
from chat_worker.takeover import Continuable, take_over
from chat_worker.titles import Titles

_RELEASE_SECONDS = 1
_CHARGE_SECONDS = 1
BROKEN = {
    "code": "TURN_BROKEN",
    "message": "The answer broke off, as something in this service failed. Please try again.",
}
_COMPACTING = {"state": "waiting", "waitsFor": "summary", "message": "Making notes of the earlier conversation…"}


class TurnRunner:
    def __init__(
        self,
        settings: Settings,
        prompts: PromptSource,
        store: Store,
        streams: tuple[TaskWriter, TaskReader],
        message: TurnMessage,
        pause: TurnPause,
        ending: TurnEnding,
        flusher: Flusher,
        model: Model,
        catalogue: Catalogue,
        context: Context,
        metrics: Metrics,
        prices: Prices | None = None,
        titles: Titles | None = None,
    ) -> None:
        self._settings = settings
        self._prompts = prompts
        self._store = store
        self._writer, self._reader = streams
        self._message = message
        self._pause = pause
        self._ending = ending
        self._flusher = flusher
        self._model = model
        self._catalogue = catalogue
        self._prices = prices
        self._titles = titles
        self._context = context
        self._metrics = metrics
        self._client_tools = specs_of(stored(settings.load_client_tools()), settings.client_tool_seconds)
        self._log = get_logger()

    async def run(self, task: Task, entry_id: str, *, repeated: bool = False) -> None:
        """Run a turn that this worker has just claimed, under the lease of that queue entry. `repeated`: the entry was
        delivered before."""
        began = time.monotonic()
        meter = self._metrics.claimed(task)
        queued_ms = None if meter.queued_seconds is None else round(meter.queued_seconds * 1000)
        self._log.info(
            "turn_started", attempt=task.attempt, worker=self._settings.worker_name, **_told(queued_ms=queued_ms)
        )
        status = "released"
        facts: dict[str, str | int] = {"model": task.model or self._settings.model}
        account = Account(self._prices)
        try:
            status = await self._step(task, entry_id, facts, meter, account)
        except NotStorable as error:
            self._log.error("turn_not_storable", attempt=task.attempt, reason=str(error))
            # By its own retries: in the queue's, all that led here would be done, and paid, again.
            status = await self._fail(task, facts, ERROR)
        except (Unavailable, Fenced):
            raise
        except Exception:
            if not repeated or MODEL_CALLS not in facts:
                raise
            self._log.exception("turn_broken", attempt=task.attempt, code=BROKEN["code"])
            status = await self._fail(task, facts, BROKEN)
        finally:
            if status == "released":
                await self._release(task)
            await self._charge(task, account)
            current().ended(status, facts.get("code"))
            duration_ms = round((time.monotonic() - began) * 1000)
            self._log.info("turn_ended", **facts, attempt=task.attempt, status=status, duration_ms=duration_ms)

    async def _fail(self, task: Task, facts: dict[str, str | int], error: dict[str, str]) -> str:
        """End the turn with what it has shown. Raises NotStorable where that cannot be: its entry is a dead letter
        then, and not run again."""
        facts["code"] = error["code"]
        try:
            failed = await persistently(lambda: self._ending.end_unheld(task, "failed", error))
        except (Fenced, NotStorable):
            raise
        except Exception as broken:
            raise NotStorable(f"{error['code']}: the turn could not be ended: {type(broken).__name__}") from broken
        return "failed" if failed else "fenced"

    async def _step(
        self, task: Task, entry_id: str, facts: dict[str, str | int], meter: TurnMeter, account: Account
    ) -> str:
        # It is not begun after the release that follows a failure of the others.
        beginning = asyncio.create_task(self._begin(task, entry_id))
        # Where the others fail first, or this is cancelled, nobody comes to ask how it ended.
        beginning.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        try:
            conversation, durable, person = await asyncio.gather(
                self._context.load(task),
                self._durable(task),
                self._store.understandings.acquaintance(task.user_id, task.session_id),
            )
        finally:
            await asyncio.wait((beginning,))
        begun, entries = await beginning
        writer = self._flusher.open(task.id, task.attempt)
        try:
            if begun.cancelled or task.cancel_requested_at is not None:
                # Nothing is reset first: what a dead predecessor had shown is what the user stopped at.
                fold, lacking = await self._message.shown(task)
                for event in lacking:
                    writer.write(event)
                outcome = await Step(task, self._pause, self._ending, writer, fold, meter).cancel()
                if (note := Note.parse(begun.reached)) is not None:
                    await self._model.abandon(note.reached)
                return outcome
            waited = ModelWait.read(task.model_wait)
            patience = Patience(waited.left_seconds if waited else self._settings.model_patience_seconds)
            held = Held(conversation)
            turn = Answering(
                task, held, writer, begun, durable, patience, meter, facts=facts, account=account, waited=waited
            )
            turn.client_tools = self._client_tools | specs_of(task.client_tools, self._settings.client_tool_seconds)
            self._prompt(turn, person)
            await self._open_stream(turn, entries, turn.able(self._model))
            said = conversation.messages
            making = self._titles.begin(task, said, turn.beside) if self._titles is not None else None
            try:
                left = await self._continue(turn)
            except BaseException:
                if making is not None and not turn.beside.heard.is_set():
                    making.cancel()  # the next attempt's
                raise
            turn.beside.heard.set()
            return left
        finally:
            self._flusher.close(writer)

    def _prompt(self, turn: Answering, person: Acquaintance) -> None:
        """The same for all of its steps that this attempt makes; written with them."""
        settings, template = self._settings, self._prompts.template()
        model = turn.task.model or settings.model
        turn.system_prompt = filled(template, turn.task, model, person, greet=settings.greet_newcomers)
        turn.account.prompt = template.record

    async def _begin(self, task: Task, entry_id: str) -> tuple[Begun, list[Entry]]:
        """Become the stream's writer; what it has."""
        begun = await self._writer.begin(task.fields, task.attempt, entry_id=entry_id)
        return begun, await self._reader.read(task.id) if begun.last_id is not None else []

    async def _durable(self, task: Task) -> Durable:
        """What there is of the answer already; a turn that nobody held before has nothing."""
        fresh = task.attempt == 1 and task.parts_before == 0
        return Durable() if fresh else await self._message.durable(task)

    async def _open_stream(self, turn: Answering, entries: Sequence[Entry], able: Continuable) -> None:
        """Begin the stream, or continue where predecessors left it."""
        task, retracted = turn.task, turn.begun.retracted
        beginning = take_over(entries, turn.durable, task.message_id, task.attempt, retracted, able=able)
        for event, protocol in beginning.opening:
            turn.writer.write(event, protocol)
        if beginning.retracted is not None:
            # Not before: see takeover.py.
            await turn.writer.drained()
            await self._writer.mark_retracted(task.id, beginning.retracted)
        turn.take(beginning)
        if turn.continues:
            self._log.info("step_continued", able=able)

    async def _continue(self, turn: Answering) -> str:
        """Steps, until the turn has ended or waits, for operations or for its model."""
        model = turn.task.model or self._settings.model
        if not self._settings.allows(model):
            return await self._new_step(turn).fail("MODEL_NOT_ALLOWED", f"The model {model!r} is not offered here.")
        if taken := sorted(set(turn.client_tools) & set(self._catalogue.tools)):
            return await self._new_step(turn).fail(
                "TOOL_NAME_TAKEN", f"The service has a tool {taken[0]!r} of its own."
            )
        outcome: Outcome = await self._first_step(turn, model)
        while outcome == "running":
            outcome = await self._look_for_answers(turn) or await self._model_step(turn, model)
        return outcome

    async def _first_step(self, turn: Answering, model: str) -> Outcome:
        """Of a message that is a command, its tool's call; else what an earlier worker left, or the model's."""
        if turn.durable.parts:
            return "running" if turn.durable.asks else await self._model_step(turn, model)
        if turn.command is None or self._settings.direct_tools == "off":
            return await self._model_step(turn, model)
        step = self._new_step(turn)
        if self._settings.direct_tools == "signed-in" and not has_signed_in(turn.task.user_id):
            return await step.say(SIGN_IN)
        await self._catalogue.look_for(turn.command[0])
        call = to_call(*turn.command, self._catalogue.tools)
        if isinstance(call, str):
            return await step.say(call)
        return await step.call([call], Offer(self._catalogue.tools, max_calls=1))

    async def _model_step(self, turn: Answering, model: str) -> Outcome:
        step = self._new_step(turn)
        offer = self._offer(turn)
        if offer.max_chars == 0:
            return await step.end_full(model)
        sent = await self._prepare(turn, model, offer, step)
        if sent is None:
            return await step.cancel()
        try:
            request = self._request(turn, model, offer, sent)
            outcome = await step.run(self._model, request, self._tries(turn), offer)
        except NotContinued as error:
            self._log.warning("continuation_refused", code=str(error))
            if turn.reached is not None:
                await self._model.abandon(turn.reached)
            turn.reached = None
            await turn.writer.drained()
            await self._open_stream(turn, await self._reader.read(turn.task.id), "nothing")
            return await self._model_step(turn, model)
        except TooLong as refusal:
            turn.usage = step.usage
            if self._context.refused(turn.held, model, refusal.error, sent):
                return await self._model_step(turn, model)
            return await self._new_step(turn).fail(refusal.error.code, too_long(sent))
        except Forgotten:
            raise  # the step has ended its answer
        except (Fenced, asyncio.CancelledError):
            await self._abandon_if_unknown(turn.task, step.reached)
            raise
        turn.usage, turn.reached, turn.continues = step.usage, None, False
        return outcome

    async def _look_for_answers(self, turn: Answering) -> Outcome | None:
        """Run what a person has approved; where calls wait for one, or for the client, the turn ends. None: nothing of
        that kind waits any more."""
        task = turn.task
        while True:
            operations = await persistently(lambda: self._store.operations.of_task(task.id))
            asked = [one for one in operations if one.status in ASKING]
            if not asked:
                if any(one.queue == CLIENT_QUEUE and one.tool_call_id not in turn.fold.told for one in operations):
                    await self._tell_answers(turn)
                return None
            step = self._new_step(turn)
            if any(one.approval is not None for one in asked):
                await turn.writer.drained()
                begin = partial(self._pause.begin_approved, task, written=turn.writer.written)
                return await step.after(await persistently(begin))
            ended = await step.await_person()
            if ended is not None:
                return ended
            if await self._is_lost(task):
                raise Fenced(f"task {task.id}: ended or taken over by another")

    async def _tell_answers(self, turn: Answering) -> None:
        """A client may answer while the turn runs: what it said is shown, and the model is told."""
        durable = await persistently(lambda: self._message.durable(turn.task))
        for event in untold(durable.parts, durable, turn.fold):
            turn.fold.add(event)
            turn.writer.write(event)

    async def _is_lost(self, task: Task) -> bool:
        standing = await persistently(lambda: self._store.turns.get(task.id))
        return standing is None or (standing.status, standing.attempt) != ("running", task.attempt)

    def _new_step(self, turn: Answering) -> Step:
        return Step(
            turn.task,
            self._pause,
            self._ending,
            turn.writer,
            turn.fold,
            turn.meter,
            turn.usage,
            turn.facts,
            turn.account,
            turn.beside,
        )

    def _tries(self, turn: Answering) -> Tries:
        settings = self._settings
        return Tries(settings.model_attempts, turn.patience, settings.model_hold_seconds, turn.waited_in_step)

    def _offer(self, turn: Answering) -> Offer:
        """What the next step may call; in the last round nothing, so that there is an answer."""
        settings = self._settings
        left = settings.max_tool_calls - len(turn.fold.calls())
        last = left <= 0 or turn.steps >= settings.max_steps - 1
        tools = self._tools(turn) if settings.offer_tools and not last else {}
        room = max(0, settings.max_answer_chars - turn.fold.said_chars)
        return Offer(tools, max_calls=min(left, settings.max_tool_calls_per_step), last=last, max_chars=room)

    def _tools(self, turn: Answering) -> Mapping[str, ToolSpec]:
        return {**self._catalogue.tools, **turn.client_tools} if turn.client_tools else self._catalogue.tools

    async def _prepare(self, turn: Answering, model: str, offer: Offer, step: Step) -> Prepared | None:
        """What fits of the conversation. None: the turn was cancelled while notes were made of the rest."""

        async def waiting(compacting: Coroutine[None, None, bool]) -> bool | None:
            step.show(_COMPACTING)
            done = await step.unless_interrupted(compacting)
            step.show({"state": "running"})
            return done

        tools = [_function(spec) for spec in self._sent_tools(turn, offer).values()]
        system, own = to_model_messages(turn.system_prompt, []), to_model_messages("", [], turn.fold.finished_steps())
        before = turn.held.conversation.compaction
        sent = await self._context.prepare(turn.task, turn.held, model, system, tools, own, waiting)
        notes = turn.held.conversation.compaction
        if notes is not None and notes is not before and notes.usage:
            turn.account.charge_notes(notes.model or model, notes.usage)
        if sent is not None and sent.state and sent.state != turn.held.told:
            turn.held.told = sent.state
            step.tell_context(sent.data)
        return sent

    def _request(self, turn: Answering, model: str, offer: Offer, sent: Prepared) -> ModelRequest:
        settings, messages = self._settings, sent.messages
        tools = self._sent_tools(turn, offer) if any("tool_calls" in message for message in messages) else offer.tools
        return ModelRequest(
            model=model,
            messages=messages,
            tools=[_function(spec) for spec in tools.values()] or None,
            tool_choice="none" if tools and offer.last else None,
            tool_messages=settings.offer_tools,
            user=turn.task.user_id,
            session_id=turn.task.session_id,
            traceparent=turn.task.traceparent,
            max_tokens=sent.most_answer_tokens(settings.max_output_tokens),
            prefix=turn.prefix,
            reached=turn.reached,
        )

    async def _charge(self, task: Task, account: Account) -> None:
        """Write what was used by calls that became nothing: the attempt was fenced, or the process is about to end."""
        if not account.unwritten:
            return
        try:
            async with asyncio.timeout(_CHARGE_SECONDS):
                await self._store.usage.charge(task, account.unwritten)
        except (Unavailable, NotStorable, TimeoutError) as error:
            self._log.warning("usage_lost", calls=len(account.unwritten), reason=str(error))

    def _sent_tools(self, turn: Answering, offer: Offer) -> Mapping[str, ToolSpec]:
        """In the last round too, where calls were made: servers refuse calls in a conversation without tools."""
        return self._tools(turn) if offer.last and self._settings.offer_tools else offer.tools

    async def _abandon_if_unknown(self, task: Task, reached: Reached | None) -> None:
        """A successor continues the answer that the metadata name. Where Redis forgot them, and somebody had begun anew
        before this attempt heard of it, nobody reads on in ours."""
        if reached is None:
            return
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                note = Note.parse(await self._reader.reached(task.id))
        except (Unavailable, TimeoutError):
            return
        if note is None or note.reached.response_id != reached.response_id:
            await self._model.abandon(reached)

    async def _release(self, task: Task) -> None:
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                await self._writer.release(task.id, task.attempt)
        except (Unavailable, TimeoutError) as error:
            self._log.warning("release_failed", reason=str(error))  # its lease runs out instead


def _told(**fields: int | None) -> dict[str, int]:
    """Those that there are."""
    return {name: value for name, value in fields.items() if value is not None}


def _function(spec: ToolSpec) -> dict[str, Any]:
    function = {"name": spec.name, "description": spec.description, "parameters": spec.parameters}
    return {"type": "function", "function": function}
