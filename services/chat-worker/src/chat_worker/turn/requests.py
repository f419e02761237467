"""What the model of a turn is sent, and what it may call.

Guarantees
- The system prompt and the client's tools are the same for all steps of an attempt.
- In the last round nothing may be called, so that there is an answer.
- A conversation that does not fit is cut, with notes of the rest, while its browser is told; see context/.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

from sluiceway.operation.answer_format import AnswerFormat
from sluiceway.operation.catalogue import Catalogue
from sluiceway.store import Store
from sluiceway.store.people.understandings import Acquaintance
from sluiceway.store.records import Task
from sluiceway.store.sessions.conversations import Conversation
from sluiceway.wire.client_tools import specs_of, stored
from sluiceway.wire.tools import ToolSpec
from sluiceway_llm.calling.retry import Patience
from sluiceway_llm.model_errors import ModelContextExceeded
from sluiceway_llm.model_events import ModelRequest

from chat_worker.calls import AskedCall
from chat_worker.context.context import Context, Prepared
from chat_worker.direct import SIGN_IN, has_signed_in, to_call
from chat_worker.model_wait import ModelWait
from chat_worker.prompt.prompt import ModelMessages, to_model_messages
from chat_worker.prompt.system_prompt import PromptSource, filled
from chat_worker.settings import Settings
from chat_worker.step.offer import Offer, Tries
from chat_worker.step.showing import Showing
from chat_worker.turn.answering import Answering
from chat_worker.turn.forms import asked_again, instruction

_COMPACTING = {"state": "waiting", "waitsFor": "summary", "message": "Making notes of the earlier conversation…"}


class Requests:
    def __init__(
        self, settings: Settings, store: Store, prompts: PromptSource, catalogue: Catalogue, context: Context
    ) -> None:
        self._settings = settings
        self._store = store
        self._prompts = prompts
        self._catalogue = catalogue
        self._context = context
        self._client_tools = specs_of(stored(settings.load_client_tools()), settings.client_tool_seconds)

    # Of all steps

    async def load(self, task: Task) -> tuple[Conversation, Acquaintance]:
        """What was said before, and what is known about the person."""
        people = self._store.understandings
        return await asyncio.gather(self._context.load(task), people.acquaintance(task.user_id, task.session_id))

    def patience(self, waited: ModelWait | None) -> Patience:
        """With a model that is away: what is left of it."""
        return Patience(waited.left_seconds if waited else self._settings.model_patience_seconds)

    def begin(self, turn: Answering, person: Acquaintance) -> None:
        """Say which model is asked, with which prompt and which tools of the client."""
        settings, template, task = self._settings, self._prompts.template(), turn.task
        turn.model = task.model or settings.model
        prompt = filled(template, task, turn.model, person, greet=settings.greet_newcomers)
        turn.system_prompt = prompt + instruction(AnswerFormat.read(task.answer_format))
        turn.attempt.account.prompt = template.record
        turn.client_tools = self._client_tools | specs_of(task.client_tools, settings.client_tool_seconds)

    def refusal(self, turn: Answering) -> tuple[str, str] | None:
        """A code and a sentence, where the turn asks for what is not offered here."""
        if not self._settings.allows(turn.model):
            return "MODEL_NOT_ALLOWED", f"The model {turn.model!r} is not offered here."
        if taken := sorted(set(turn.client_tools) & set(self._catalogue.tools)):
            return "TOOL_NAME_TAKEN", f"The service has a tool {taken[0]!r} of its own."
        return None

    async def command(self, turn: Answering) -> AskedCall | str | None:
        """The call that the message commands, or what is said to it instead; None: it commands nothing."""
        how, command = self._settings.direct_tools, turn.command
        if command is None or how == "off":
            return None
        if how == "signed-in" and not has_signed_in(turn.task.user_id):
            return SIGN_IN
        await self._catalogue.look_for(command[0])
        return to_call(*command, self._catalogue.tools)

    @property
    def of_commands(self) -> Offer:
        """What a command may call."""
        return Offer(self._catalogue.tools, max_calls=1)

    # Of the next step

    def tries(self, turn: Answering) -> Tries:
        settings = self._settings
        return Tries(settings.model_attempts, turn.patience, settings.model_hold_seconds, turn.waited_in_step)

    def offer(self, turn: Answering) -> Offer:
        settings = self._settings
        left = settings.max_tool_calls - len(turn.fold.calls())
        last = left <= 0 or turn.steps >= settings.max_steps - 1
        tools = self._tools(turn) if settings.offer_tools and not last else {}
        room = max(0, settings.max_answer_chars - turn.fold.said_chars)
        calls, form = min(left, settings.max_tool_calls_per_step), AnswerFormat.read(turn.task.answer_format)
        return Offer(tools, max_calls=calls, last=last, max_chars=room, form=form)

    async def prepare(self, turn: Answering, offer: Offer, showing: Showing) -> Prepared | None:
        """What fits of the conversation. None: the turn was cancelled while notes were made of the rest."""

        async def waiting(compacting: Coroutine[None, None, bool]) -> bool | None:
            showing.status(_COMPACTING)
            done = await showing.unless_interrupted(compacting)
            showing.status({"state": "running"})
            return done

        held = turn.held
        sent = await self._context.prepare(turn.task, held, turn.model, *self._sent(turn, offer), waiting)
        if sent is not None and sent.state and sent.state != held.told:
            held.told = sent.state
            showing.context(sent.data)
        return sent

    async def look_ahead(self, turn: Answering) -> None:
        """Behind the turn: see to it that the next one need not wait for notes."""
        await self._context.look_ahead(turn.task, turn.held, turn.model, *self._sent(turn, self.offer(turn)))

    def _sent(self, turn: Answering, offer: Offer) -> tuple[ModelMessages, list[dict[str, Any]], ModelMessages]:
        """Beside the conversation: the instructions, the tools, and the answer so far."""
        tools = [_function(spec) for spec in self._sent_tools(turn, offer).values()]
        own = to_model_messages("", [], turn.fold.finished_steps(), later=turn.attempt.background)
        return to_model_messages(turn.system_prompt, []), tools, own + asked_again(turn.unfit)

    def request(self, turn: Answering, offer: Offer, sent: Prepared) -> ModelRequest:
        settings, messages = self._settings, sent.messages
        tools = self._sent_tools(turn, offer) if any("tool_calls" in message for message in messages) else offer.tools
        return ModelRequest(
            model=turn.model,
            messages=messages,
            answer_format=turn.task.answer_format,
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

    def shorten(self, turn: Answering, error: ModelContextExceeded, sent: Prepared) -> bool:
        """Whether less is sent next time, as the server refused that for its length."""
        return self._context.refused(turn.held, turn.model, error, sent)

    def _tools(self, turn: Answering) -> Mapping[str, ToolSpec]:
        return {**self._catalogue.tools, **turn.client_tools} if turn.client_tools else self._catalogue.tools

    def _sent_tools(self, turn: Answering, offer: Offer) -> Mapping[str, ToolSpec]:
        """In the last round too, where calls were made: servers refuse calls in a conversation without tools."""
        return self._tools(turn) if offer.last and self._settings.offer_tools else offer.tools


def _function(spec: ToolSpec) -> dict[str, Any]:
    function = {"name": spec.name, "description": spec.description, "parameters": spec.parameters}
    return {"type": "function", "function": function}
