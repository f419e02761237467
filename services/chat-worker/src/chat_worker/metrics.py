"""What the chat worker counts: how long turns wait for a worker, and how the model server does. docs/metrics.md has the
names.

A token costs nothing: a model call is looked at when it begins, at its first token, and when it ends.
"""

import time
from contextlib import ExitStack
from types import TracebackType

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from sluiceway.process.metrics import Gathered, counter
from sluiceway.store.records import Task
from sluiceway.tracing import names
from sluiceway.tracing.spans import Attributes, Span, model_call
from sluiceway_llm.calling.line import InLine
from sluiceway_llm.model_errors import ModelError
from sluiceway_llm.model_events import Finished, ModelEvent, ModelRequest, ReasoningDelta, ToolCallDelta, Usage

from chat_worker.flusher import Flusher

_WAIT_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 120, 300)
_TOKEN_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)
_KINDS = {
    "inputTokens": "input",
    "outputTokens": "output",
    "reasoningTokens": "reasoning",
    "cachedInputTokens": "cached_input",
}


class Metrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.queued_seconds = Histogram(
            "sluiceway_turn_queued_seconds",
            "From the acceptance of a turn to its first worker",
            buckets=_WAIT_SECONDS,
            registry=registry,
        )
        self.first_token_seconds = Histogram(
            "sluiceway_turn_first_token_seconds",
            "From the acceptance of a turn to the first piece of its answer",
            buckets=_WAIT_SECONDS,
            registry=registry,
        )
        self.model_first_token_seconds = Histogram(
            "sluiceway_model_first_token_seconds",
            "From the request that was answered to the first piece of the answer",
            ["model"],
            buckets=_WAIT_SECONDS,
            registry=registry,
        )
        self.token_seconds = Histogram(
            "sluiceway_model_token_seconds",
            "From one token of an answer to its next, on average over the answer",
            ["model"],
            buckets=_TOKEN_SECONDS,
            registry=registry,
        )
        self.model_seconds = Histogram(
            "sluiceway_model_call_seconds",
            "A model call from its first request to its end, with all retries",
            ["model"],
            buckets=_WAIT_SECONDS,
            registry=registry,
        )
        self.tokens = Counter(
            "sluiceway_model_tokens",
            "Tokens, as the model server counts them",
            ["model", "kind", "purpose"],
            registry=registry,
        )
        self.errors = Counter(
            "sluiceway_model_errors", "Model calls that failed for good", ["model", "code"], registry=registry
        )
        self.retries = Counter(
            "sluiceway_model_retries", "Requests that failed and were sent again", ["model", "code"], registry=registry
        )
        self.in_line = Counter(
            "sluiceway_model_in_line",
            "How often a call was told to wait in line, as its model was asked as often as it may be in a minute",
            ["model"],
            registry=registry,
        )
        self.wait_seconds = Counter(
            "sluiceway_model_wait_seconds", "Seconds waited for a model that is away", ["model"], registry=registry
        )
        self.calls = Gauge("sluiceway_model_calls", "Model calls that are open now", registry=registry)

    def used(self, model: str, purpose: str, usage: Usage) -> None:
        """By an answer, by notes, by a title."""
        for name, count in usage.as_dict().items():
            if name in _KINDS:
                self.tokens.labels(model, _KINDS[name], purpose).inc(max(0, count))

    def watch(self, registry: CollectorRegistry, flusher: Flusher) -> None:
        """Ask these when the metrics are read."""
        Gathered(
            registry,
            lambda: [counter("sluiceway_stream_flushes", "Round trips that carried tokens to Redis", flusher.flushes)],
        )

    def claimed(self, task: Task) -> "TurnMeter":
        """A worker has just claimed a turn."""
        meter = TurnMeter(self, task)
        if meter.queued_seconds is not None:
            self.queued_seconds.observe(meter.queued_seconds)
        return meter


class TurnMeter:
    """One run of a turn. `queued_seconds`: how long it had waited for its first worker; None: this is a later one."""

    def __init__(self, metrics: Metrics, task: Task) -> None:
        self.queued_seconds: float | None = None
        # By Postgres's clock, both.
        if task.attempt == 1 and task.started_at is not None:
            self.queued_seconds = max(0.0, (task.started_at - task.created_at).total_seconds())
        self.session_id = task.session_id
        self._metrics = metrics
        self._claimed = time.monotonic()
        self._says_nothing = True

    def calls(self, request: ModelRequest) -> "CallMeter":
        """A model is about to be asked."""
        return CallMeter(self._metrics, self, request)

    def first_token(self) -> None:
        """Of a call. What follows a takeover is not the first of its turn."""
        if self._says_nothing and self.queued_seconds is not None:
            seconds = self.queued_seconds + time.monotonic() - self._claimed
            self._metrics.first_token_seconds.observe(seconds)
        self._says_nothing = False


class CallMeter:
    """One model call with its retries, and its span. Used as `with turn.calls(request) as call`."""

    def __init__(self, metrics: Metrics, turn: TurnMeter, request: ModelRequest) -> None:
        self._metrics = metrics
        self._turn = turn
        self._model = request.model
        self._is_resumed = request.reached is not None
        self._first: tuple[float, ModelEvent] | None = None
        self._leave = ExitStack()
        self.span = Span()

    def __enter__(self) -> "CallMeter":
        self.span = self._leave.enter_context(model_call(self._model, self._turn.session_id, "answer"))
        self._began = self._asked = time.monotonic()
        self._metrics.calls.inc()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._metrics.calls.dec()
        self._metrics.model_seconds.labels(self._model).observe(time.monotonic() - self._began)
        self._leave.__exit__(kind, error, where)

    def first_token(self, event: ModelEvent) -> None:
        now = time.monotonic()
        self._first = now, event
        seconds = now - self._asked
        self._metrics.model_first_token_seconds.labels(self._model).observe(seconds)
        self.span.set({names.GEN_AI_TIME_TO_FIRST_CHUNK: seconds})
        self._turn.first_token()

    def retries(self, error: ModelError, delay_seconds: float) -> None:
        """It will be asked again after that time."""
        if isinstance(error, InLine):
            self._metrics.in_line.labels(self._model).inc()
        else:
            self._metrics.retries.labels(self._model, error.code).inc()
        self._metrics.wait_seconds.labels(self._model).inc(max(0.0, delay_seconds))
        self.span.event(names.RETRY, {names.ERROR_TYPE: error.code, names.RETRY_DELAY: delay_seconds})
        self._asked = time.monotonic() + delay_seconds

    def failed(self, error: ModelError) -> None:
        self._metrics.errors.labels(self._model, error.code).inc()

    def answered(self, finished: Finished) -> None:
        self.span.set(told_of(finished))
        if self._first is not None and not self._is_resumed:
            since, event = self._first
            tokens = tokens_after(event, finished.usage)
            if tokens > 0:
                self._metrics.token_seconds.labels(self._model).observe((time.monotonic() - since) / tokens)

    def used(self, usage: Usage | None) -> None:
        self.span.set(tokens_of(usage))


def tokens_after(first: ModelEvent, usage: Usage | None) -> int:
    """How many tokens a model made after the first piece that it told; 0 where that is not known.

    Servers may tell a call only when they have all of it. Thoughts that are not told were made before the first piece.
    """
    if usage is None or usage.output_tokens is None or isinstance(first, ToolCallDelta):
        return 0
    before = 0 if isinstance(first, ReasoningDelta) else usage.reasoning_tokens or 0
    return usage.output_tokens - before - 1


def told_of(finished: Finished) -> Attributes:
    """What a span has of an answer."""
    reasons = [finished.reason] if finished.reason is not None else None
    told: Attributes = {names.GEN_AI_RESPONSE_MODEL: finished.model, names.GEN_AI_FINISH_REASONS: reasons}
    return {**told, **tokens_of(finished.usage)}


def tokens_of(usage: Usage | None) -> Attributes:
    """As a span has them."""
    if usage is None:
        return {}
    return {
        names.GEN_AI_INPUT_TOKENS: usage.input_tokens,
        names.GEN_AI_OUTPUT_TOKENS: usage.output_tokens,
        names.GEN_AI_CACHED_INPUT_TOKENS: usage.cached_input_tokens,
        names.GEN_AI_REASONING_TOKENS: usage.reasoning_tokens,
    }
