"""What the model is sent of a conversation: as much as fits, and a summary of the rest.

Guarantees
- The system prompt and the newest message of the user are always sent. A call and its result are sent together, or
  neither is. What is cut off is oldest first, and whole exchanges.
- The cut-off moves in steps: it leaves half of the room free, so that for many turns the prompt only grows, and the
  server's prompt cache holds. It is stored, and so is the summary, which is made and paid once.
- A turn whose conversation fits waits for nothing: neither a summary nor, most often, an exact count. The summary is
  made behind a turn, where another one like it would not fit; one that is needed at once is waited for only so long.
- Each cut-off is told once, in the first answer that was made with it.
- A refusal for length makes the room smaller, in the same step, until nothing more can be left out.
- Without a summary (a setting, or the model failed) the conversation is cut off all the same.
"""

import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sluiceway.process.logs import get_logger
from sluiceway.queue.worker import persistently
from sluiceway.store import Store
from sluiceway.store.records import Task
from sluiceway.store.sessions.conversations import Compaction, Conversation
from sluiceway.wire.token_estimate import estimated_tokens
from sluiceway_llm.model_errors import ModelContextExceeded

from chat_worker.context.exchanges import LEAST_CHARS, Exchange, exchanges_of, shortened, steps_of
from chat_worker.context.notes import NoteTaking, Wanted
from chat_worker.context.summary import summary_tokens
from chat_worker.context.tokens import TokenCounter
from chat_worker.context.windows import Window, Windows
from chat_worker.prompt.attachments import Attachments
from chat_worker.prompt.prompt import ModelMessages

_LEFT_OUT = "[The earlier part of this conversation is left out: it is too long.]"
_SUMMARY = "[The earlier part of this conversation is left out. Notes that were made of it:]\n\n"
_NOTED = "I will keep that in mind."
# Of the room: what is left after a cut; from where on the person is told that it fills.
_KEPT, _FILLING = 0.5, 0.75
# As much may be full where the exchange before the question is kept.
_LATEST = 0.8
_TIGHTER = 0.75
# So many exchanges say how large the next one may be.
_LAST = 3
_MOST_REFUSALS = 10
_MOST_ANSWER_TOKENS = 4_096
_RESULT_SHARE = 8  # of the window, for one result
_CHARS_OF_A_TOKEN = 3
# Parts have more in them than what is sent, such as reasoning.
_BYTES_OF_A_TOKEN = 12
_LEAST_BYTES, _MOST_BYTES = 256 * 1024, 8 * 1024 * 1024


class ContextSettings(Protocol):
    @property
    def model(self) -> str: ...
    @property
    def models(self) -> list[str]: ...
    @property
    def max_context_messages(self) -> int: ...
    @property
    def max_output_tokens(self) -> int | None: ...
    @property
    def compaction(self) -> str: ...
    @property
    def summary_model(self) -> str | None: ...


@dataclass(slots=True)
class Held:
    """What a turn knows of its conversation. `refusals`: for length, in this turn; `tighter`: those that no number
    explained. `told`: the state that the person was told. `reason`: why there are no notes of what was cut off last."""

    conversation: Conversation
    refusals: int = 0
    tighter: int = 0
    told: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Prepared:
    """`tokens`: as we count them. `room`: how many a request may have. `state`: what was done to make it fit; empty:
    nothing to tell. `reason`: why there are no notes of what was left out. `bare`: nothing more can be left out."""

    messages: ModelMessages
    tokens: int
    window: Window
    answer_tokens: int
    room: int
    state: str = ""
    reason: str = ""
    bare: bool = False

    @property
    def data(self) -> dict[str, Any]:
        """For the part `data-context`, before the answer."""
        return self._told(self.state, self.tokens) if self.state else {}

    def counted(self, tokens: int | None) -> dict[str, Any]:
        """And behind it, with as many tokens as its server has counted; None: it tells none."""
        used = self.tokens if tokens is None else tokens
        state = self.state or ("filling" if used >= _FILLING * self.room else "")
        return self._told(state, used) if state else {}

    def _told(self, state: str, used: int) -> dict[str, Any]:
        reason = {"reason": self.reason} if self.reason else {}
        told = {"usedTokens": used, "roomTokens": self.room, "windowTokens": self.window.tokens}
        return {"state": state, **reason, **told}

    def most_answer_tokens(self, setting: int | None) -> int | None:
        """The limit of the answer, where a setting has one: no more than the window has left."""
        return setting and min(setting, max(self.answer_tokens, self.window.tokens - self.tokens))


def too_long(sent: Prepared) -> str:
    """What a person is told where nothing more could be left out."""
    return (
        f"The message is too long for this model: it has about {sent.tokens:,} tokens with its instructions, and the "
        f"model takes {sent.window.tokens:,}, its answer included. Send it in parts, or choose another model."
    )


# Runs what may take long, and can be interrupted: None: it was.
Waiting = Callable[[Coroutine[None, None, bool]], Coroutine[None, None, bool | None]]


class Context:
    def __init__(
        self,
        settings: ContextSettings,
        store: Store,
        windows: Windows,
        notes: NoteTaking,
        attachments: Attachments | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._windows = windows
        self._notes = notes
        self._attachments = attachments
        self._counters: dict[str, TokenCounter] = {}
        self._log = get_logger()

    async def load(self, task: Task) -> Conversation:
        """As much of the conversation before this turn's answer as its model may be sent."""
        limit = self._windows.limit(task.model or self._settings.model).tokens
        max_bytes = min(_MOST_BYTES, max(_LEAST_BYTES, limit * _BYTES_OF_A_TOKEN))
        conversation = await self._store.conversations.before(
            task, max_messages=self._settings.max_context_messages, max_bytes=max_bytes
        )
        if self._attachments is None:
            return conversation
        return await self._attachments.told(task.user_id, conversation)

    async def warm_up(self) -> None:
        """Read the encodings of the models that turns may ask for."""
        for name in (self._settings.model, *self._settings.models):
            await self._counter(name).load()

    async def prepare(
        self,
        task: Task,
        held: Held,
        name: str,
        system: ModelMessages,
        tools: Sequence[Mapping[str, Any]],
        own: ModelMessages,
        waiting: Waiting,
    ) -> Prepared | None:
        """What to send: `system`, the conversation, and this answer's own steps. None: the turn was interrupted."""
        fitting, fixed = await self._fitting(held, name, system, tools)
        state, whole = held.told or _untold(held.conversation), own
        while True:
            exchanges, notes, counts = await fitting.said(held.conversation, own, fixed)
            total = fixed + sum(counts)
            if total > fitting.room and (shorter := shortened(whole, fitting.chars)) != own:
                # Before anything of the conversation is left out for good.
                own, state = shorter, state or "shortened"
                continue
            cut = fitting.cut(held.conversation, exchanges, counts, fixed)
            if cut is None:
                break
            if not await waiting(self._compact(task, held, name, exchanges, cut)):
                return None
            state = "truncated" if held.reason else "summarised"
        said = [message for one in exchanges for message in one.messages]
        if total > fitting.room:
            shorter, total = await fitting.shorten(whole, total - counts[1])
            state = state or ("shortened" if shorter != own else "")
            own = shorter
        bare = len(exchanges) <= 1 and len(steps_of(own)) <= 1 and total > fitting.room
        reason = held.reason if state == "truncated" else ""
        messages = [*system, *notes, *said, *own]
        return Prepared(messages, total, fitting.window, fitting.answer_tokens, fitting.room, state, reason, bare)

    async def look_ahead(
        self,
        task: Task,
        held: Held,
        name: str,
        system: ModelMessages,
        tools: Sequence[Mapping[str, Any]],
        own: ModelMessages,
    ) -> None:
        """Behind a turn, with its answer: have notes made where another turn like the last ones would not fit."""
        if self._settings.compaction != "summary":
            return
        fitting, fixed = await self._fitting(held, name, system, tools)
        exchanges, _, counts = await fitting.said(held.conversation, own, fixed)
        cut = fitting.cut_ahead(exchanges, counts, fixed)
        if cut > 0:
            self._log.info("notes_begun", model=name, exchanges=cut, tokens=fixed + sum(counts), room=fitting.room)
            self._notes.begin(self._wanted(task, held, name, exchanges[:cut]))

    def refused(self, held: Held, name: str, error: ModelContextExceeded, sent: Prepared) -> bool:
        """The server says that this was too long. False: nothing more can be left out."""
        held.refusals += 1
        self._log.info("window_refused", model=name, tokens=sent.tokens, window=sent.window.tokens)
        if held.refusals > _MOST_REFUSALS or sent.bare:
            return False
        if error.window_tokens is not None and self._windows.learn(name, error.window_tokens):
            return True  # our counts may be right: it was the window that was not
        held.tighter += 1
        if self._windows.of(name).source == "assumed":
            self._windows.learn(name, max(1, int(sent.tokens * 0.9)))
        return True

    async def _compact(self, task: Task, held: Held, name: str, exchanges: Sequence[Exchange], cut: int) -> bool:
        """Move the cut-off behind so many exchanges."""
        conversation, held.reason = held.conversation, ""
        through = exchanges[cut - 1].through if cut else conversation.messages[0].sequence - 1
        compaction = None
        if self._settings.compaction != "summary":
            held.reason = "setting"
        elif not cut:
            held.reason = "unread"
        else:
            compaction = await self._noted(task, held, self._wanted(task, held, name, exchanges[:cut]))
        if compaction is None:
            before = conversation.compaction
            compaction = Compaction(through, before.summary if before is not None else None)
            # Notes that are being made are stored with their own cut-off.
            if held.reason != "late":
                await persistently(lambda: self._store.conversations.compact(task, compaction))
        through = compaction.through_sequence
        left = [message for message in conversation.messages if message.sequence > through]
        held.conversation = Conversation(left, compaction)
        how = {"how": "truncated", "reason": held.reason} if held.reason else {"how": "summarised"}
        self._log.info("conversation_compacted", model=name, exchanges=cut, through=through, **how)
        return True

    async def _noted(self, task: Task, held: Held, wanted: Wanted) -> Compaction | None:
        """The cut-off with the notes that were made in time. None: `held` says why."""
        taken = await self._notes.take(wanted)
        newest = await persistently(lambda: self._store.conversations.newest(task))
        if newest is not None and newest.model is not None and newest.through_sequence > wanted.conversation.cut_off:
            return newest
        held.reason = "late" if taken == "late" else "failed"
        return None

    def _wanted(self, task: Task, held: Held, name: str, exchanges: Sequence[Exchange]) -> Wanted:
        writer = self._settings.summary_model or name
        return Wanted(task, held.conversation, exchanges, writer, self._windows.limit(writer).tokens)

    async def _fitting(
        self, held: Held, name: str, system: ModelMessages, tools: Sequence[Mapping[str, Any]]
    ) -> tuple["_Fitting", int]:
        """And how many tokens go with each request: the instructions and the tools."""
        fitting = _Fitting(self._windows.limit(name), self._settings, self._counter(name), held.tighter)
        return fitting, await fitting.count(system) + (estimated_tokens(json.dumps(tools)) if tools else 0)

    def _counter(self, name: str) -> TokenCounter:
        if name not in self._counters:
            self._counters[name] = TokenCounter(name, lambda: self._windows.takes_pictures(name))
        return self._counters[name]


class _Fitting:
    """The room of one request, and what goes into it."""

    def __init__(self, window: Window, settings: ContextSettings, counter: TokenCounter, tighter: int) -> None:
        self.window = window
        self.answer_tokens = min(settings.max_output_tokens or _MOST_ANSWER_TOKENS, window.tokens // 4)
        self.room = int((window.tokens - self.answer_tokens) * _TIGHTER**tighter)
        self._most_messages = settings.max_context_messages
        self._counter = counter
        self.chars = max(LEAST_CHARS, window.tokens // _RESULT_SHARE * _CHARS_OF_A_TOKEN)

    async def count(self, messages: ModelMessages) -> int:
        return sum(await self._counter.count([messages], self.room))

    async def counts(self, groups: Sequence[ModelMessages], fixed: int) -> list[int]:
        """Exactly, from where on it matters."""
        return await self._counter.count(groups, int(_FILLING * self.room) - fixed)

    async def said(
        self, conversation: Conversation, own: ModelMessages, fixed: int
    ) -> tuple[list[Exchange], ModelMessages, list[int]]:
        """The exchanges, the notes of those before, and the tokens of the notes, this answer and each exchange."""
        said = exchanges_of(conversation.messages)
        exchanges = [Exchange(one.through, shortened(one.messages, self.chars)) for one in said]
        notes = _notes(conversation.compaction)
        return exchanges, notes, await self.counts([notes, own, *(one.messages for one in exchanges)], fixed)

    def cut(
        self, conversation: Conversation, exchanges: Sequence[Exchange], counts: Sequence[int], fixed: int
    ) -> int | None:
        """Behind how many exchanges the conversation is to be cut; None: nowhere."""
        if conversation.whole and fixed + sum(counts) <= self.room:
            return None
        cut = self._place(exchanges, counts, fixed)
        if conversation.whole:
            return cut if cut > 0 else None
        # What was read is large, if not what is sent of it: without this the cut-off would move a little in each turn.
        return max(cut, len(exchanges) // 2) if exchanges else None

    def cut_ahead(self, exchanges: Sequence[Exchange], counts: Sequence[int], fixed: int) -> int:
        """Behind how many exchanges the next turn would cut, if it is as large as the last ones; 0: it would not."""
        _, own, *said = counts
        if not said or fixed + sum(counts) + max(said[-1] + own, *said[-_LAST:]) <= self.room:
            return 0
        return self._place(exchanges, counts, fixed)

    def _place(self, exchanges: Sequence[Exchange], counts: Sequence[int], fixed: int) -> int:
        notes, own, *said = counts
        room = int(self.room * _KEPT) - fixed - own - max(notes, summary_tokens(self.window.tokens))
        cut, messages = len(said), 0
        while cut > 0:
            messages += len(exchanges[cut - 1].messages)
            room -= said[cut - 1]
            if cut < len(said) and (room < 0 or messages > self._most_messages // 2):
                break
            cut -= 1
        beside = fixed + own + max(notes, summary_tokens(self.window.tokens))
        if cut == len(said) - 1 > 0 and beside + sum(said[-2:]) <= _LATEST * self.room:
            cut -= 1  # what the person most likely speaks of now
        return cut

    async def shorten(self, own: ModelMessages, beside: int) -> tuple[ModelMessages, int]:
        """The steps of this answer, made to fit beside the rest: results cut ever harder, then the oldest left out."""
        chars = self.chars
        short = shortened(own, chars)
        total = beside + await self.count(short)
        while total > self.room and chars > LEAST_CHARS:
            chars = max(LEAST_CHARS, chars // 2)
            short = shortened(own, chars)
            total = beside + await self.count(short)
        steps = steps_of(short)
        while total > self.room and len(steps) > 1:
            total -= await self.count(steps.pop(0))
        return [message for step in steps for message in step], total


def _untold(conversation: Conversation) -> str:
    """How the conversation was cut, where no answer since then tells it: notes are made behind a turn, too."""
    compaction = conversation.compaction
    if compaction is None:
        return ""
    # Without a model it was cut off behind its own notes: those of an earlier one are kept.
    state = "summarised" if compaction.model is not None else "truncated"
    told = (part for one in conversation.messages for part in one.parts if part["type"] == "data-context")
    return "" if any(part.get("data", {}).get("state") == state for part in told) else state


def _notes(compaction: Compaction | None) -> ModelMessages:
    """As a person's word that was answered: a summary has what people and tools said, so it is no system prompt."""
    if compaction is None:
        return []
    told = _SUMMARY + compaction.summary if compaction.summary else _LEFT_OUT
    return [{"role": "user", "content": told}, {"role": "assistant", "content": _NOTED}]
