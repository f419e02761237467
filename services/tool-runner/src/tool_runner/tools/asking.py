"""One question of a tool to the model: the whole answer, and on the way what was said so far.

Guarantees
- A question ends: with what the model said, or with ToolFailed, whose type says why (`MODEL_…`). An answer that grows
  far beyond its limit is left, whatever the server makes of `max_tokens`.
- Leaving, by cancel or by an error of the listener, closes the request to the model server at once.
- Before anything was said, faults that may pass are retried as everywhere (sluiceway_llm.calling.retry), for
  `MODEL_PATIENCE_SECONDS` in all. An answer that breaks off later is asked for once more, from its beginning: the
  listener then hears less than before. So is an answer without text, with more room, for models that think first and
  count that, too.
- Nothing that looks whole was cut off: `shortened` says that the limit was reached.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from sluiceway.process.logs import get_logger
from sluiceway.tracing.spans import model_call
from sluiceway_llm.calling.retry import Patience, stream_with_retries
from sluiceway_llm.model_errors import ModelContentFiltered, ModelError
from sluiceway_llm.model_events import (
    Finished,
    ModelEvent,
    ModelRequest,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    Usage,
)

from tool_runner.tool.definition import ToolContext, ToolFailed

EMPTY = "MODEL_EMPTY"
REFUSED = "MODEL_REFUSED"

_ROOM_TO_THINK = 8
"""How much larger the limit of the second question is, when the first was answered with thoughts alone."""
_CHARS_PER_TOKEN = 20
"""More than any tokenizer makes of one token in the long run."""
_QUOTED_CHARS = 300
_INLINE_THOUGHTS = re.compile(r"^\s*<think>(.*?)(?:</think>\s*|$)", re.DOTALL)
"""Some servers leave a model's thoughts in its text."""


@dataclass(frozen=True, slots=True)
class Said:
    """`shortened`: the answer reached its limit and stops where that was."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    shortened: bool = False

    def and_(self, event: ModelEvent) -> "Said":
        match event:
            case TextDelta(text):
                return replace(self, text=self.text + text)
            case ReasoningDelta(text):
                return replace(self, reasoning=self.reasoning + text)
            case RefusalDelta(text):
                return replace(self, refusal=self.refusal + text)
            case Finished(reason="length"):
                return replace(self, shortened=True)
            case Finished(reason="content_filter"):
                raise ModelContentFiltered
        return self

    @property
    def anything(self) -> bool:
        return bool(self.text or self.reasoning or self.refusal)

    @property
    def spoken(self) -> "Said":
        """With thoughts that stand in the text taken out of it."""
        thoughts = _INLINE_THOUGHTS.match(self.text)
        if thoughts is None:
            return self
        return replace(self, text=self.text[thoughts.end() :], reasoning=self.reasoning + thoughts[1].strip())


Messages: TypeAlias = list[dict[str, Any]]
OnSaid: TypeAlias = Callable[[Said], Awaitable[None]]


def messages_of(question: str, background: str = "") -> Messages:
    """What the model is asked, and what it should know of it before."""
    asked = [{"role": "user", "content": question}]
    return [{"role": "system", "content": background}, *asked] if background else asked


async def ask(context: ToolContext, messages: Messages, max_tokens: int, on_said: OnSaid | None = None) -> Said:
    """The answer, which has text. `on_said` hears what was said so far, after each read. Raises ToolFailed."""
    patience = Patience(context.settings.model_patience_seconds)
    said = await _asked(context, messages, max_tokens, on_said, patience)
    if not said.text.strip():
        said = await _asked(context, messages, max_tokens * _ROOM_TO_THINK, on_said, patience)
    if not said.text.strip():
        raise ToolFailed("The model answered without saying anything. Please try again, or another model.", EMPTY)
    return said


async def _asked(
    context: ToolContext, messages: Messages, max_tokens: int, on_said: OnSaid | None, patience: Patience
) -> Said:
    limit = min(max_tokens, context.settings.max_output_tokens or max_tokens)
    request = ModelRequest(
        model=context.model_name,
        messages=messages,
        max_tokens=limit,
        user=context.user_id,
        session_id=context.session_id,
        traceparent=context.traceparent,
    )
    for last in (False, True):
        try:
            with model_call(request.model, context.session_id, "tool") as call:
                told = replace(request, traceparent=call.traceparent or request.traceparent)
                answer = _Answer(context, told, on_said, patience)
                return await answer.heard()
        except ModelError as error:
            if last or not (error.retryable and answer.said.anything):
                raise ToolFailed(error.user_message, error.code) from error
            get_logger().warning("model_answer_broke_off", error=error.code)
    raise AssertionError("the last try either answers or raises")


class _Answer:
    """One request: `said` is what came of it so far."""

    def __init__(self, context: ToolContext, request: ModelRequest, on_said: OnSaid | None, patience: Patience) -> None:
        self.said = Said()
        self._context = context
        self._request = request
        self._on_said = on_said
        self._patience = patience
        self._used: Usage | None = None
        self._most_chars = (request.max_tokens or 0) * _CHARS_PER_TOKEN

    async def heard(self) -> Said:
        """Listen to the end. Raises ModelError, and ToolFailed where the model refuses."""
        outcome: Literal["answered", "failed", "stopped"] = "stopped"
        try:
            await self._listen()
            outcome = "answered"
        except ModelError as error:
            outcome, self._used = "failed", error.usage
            raise
        finally:
            said_chars = len(self.said.text) + len(self.said.reasoning) + len(self.said.refusal)
            # Also where the tool was cancelled: what it has asked for was paid.
            await asyncio.shield(self._context.charge(self._request, outcome, self._used, said_chars))
        if self.said.refusal and not self.said.text:
            raise ToolFailed(f"The model refused: {self.said.refusal[:_QUOTED_CHARS]}", REFUSED)
        return self.said.spoken

    async def _listen(self) -> None:
        attempts = self._context.settings.model_attempts
        model = self._context.model
        stream = stream_with_retries(
            model, self._request, attempts=attempts, patience=self._patience, on_retry=_log_retry
        )
        async with stream as batches:
            async for batch in batches:
                for event in batch:
                    self._used = event.usage if isinstance(event, Finished) else self._used
                    self.said = self.said.and_(event)
                if self._on_said is not None and self.said.anything:
                    await self._on_said(self.said.spoken)
                if self._too_long:
                    self.said = replace(self.said, shortened=True)
                    break

    @property
    def _too_long(self) -> bool:
        return len(self.said.text) + len(self.said.reasoning) > self._most_chars


def _log_retry(error: ModelError, failures: int, delay_seconds: float) -> None:
    get_logger().warning("model_retry", error=error.code, failures=failures, delay_seconds=round(delay_seconds, 2))
