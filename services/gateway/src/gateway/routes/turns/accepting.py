"""Starting a turn, for all routes that do: the limits, the request to the store, the answer.

A start in the background needs Postgres alone: the 202 says that the message is durable, and it is answered when Redis
is back. A start that is to be followed needs Redis, and is refused before anything is stored.
"""

from typing import Annotated, Any

from sluiceway.errors import (
    AccessDenied,
    BudgetReached,
    MessageConflict,
    MessageNotFound,
    RedisUnavailable,
    SessionBusy,
    SessionNotFound,
    StoreUnavailable,
    TaskExpired,
    TooManyTasks,
)
from sluiceway.process.logs import note
from sluiceway.redis.client import command
from sluiceway.store.people.usage import Budget
from sluiceway.store.turns.accepting import AcceptedTurn as Accepted
from sluiceway.store.turns.accepting import NewTurn
from sluiceway.tracing.spans import current, is_traceparent, trace_id_of
from sluiceway.wire.question import Question
from starlette.responses import Response

from gateway.api.cursors import StreamParams
from gateway.api.inputs import In, Params
from gateway.api.models.turns import AcceptedTurn, stream_url
from gateway.api.problems import (
    ContextTooLong,
    MessageExceedsWindow,
    MessageTooLong,
    ModelNotAllowed,
    ProblemType,
    SchemaRefused,
    StorageFull,
)
from gateway.routes.claiming import claiming
from gateway.routes.following import open_stream
from gateway.routing.table import Call, json_response
from gateway.settings import Settings

PROBLEMS: tuple[ProblemType, ...] = (
    AccessDenied,
    BudgetReached,
    ContextTooLong,
    MessageConflict,
    MessageExceedsWindow,
    MessageTooLong,
    ModelNotAllowed,
    SchemaRefused,
    SessionBusy,
    SessionNotFound,
    StorageFull,
    StoreUnavailable,
    TooManyTasks,
)
# A repeat of a message whose turn ended long ago has nothing left to stream.
FOLLOWED_PROBLEMS: tuple[ProblemType, ...] = (*PROBLEMS, RedisUnavailable, TaskExpired)
REGENERATE_PROBLEMS: tuple[ProblemType, ...] = (MessageNotFound,)
RUN_ID_HEADER = "x-workflow-run-id"
# The same for assistant-ui, which follows it again after a reload.
STREAM_ID_HEADER = "x-resumable-stream-id"


class TracedParams(Params):
    """The caller's trace continues in the worker. One that is not well-formed is ignored, as W3C Trace Context says."""

    traceparent: Annotated[str | None, In("header")] = None

    @property
    def trace(self) -> str | None:
        """Of this request's span, where it has one: that continues the caller's."""
        return current().traceparent or (self.traceparent if is_traceparent(self.traceparent) else None)


def check_limits(settings: Settings, text: str, model: str | None, question: Question) -> None:
    """Raises MessageTooLong, ContextTooLong, ModelNotAllowed."""
    if len(text) > settings.max_message_chars:
        raise MessageTooLong(max_message_chars=settings.max_message_chars)
    if question.page is not None and len(question.page.content) > settings.max_context_chars:
        raise ContextTooLong(max_context_chars=settings.max_context_chars)
    if model is not None and settings.known_models and model not in settings.known_models:
        raise ModelNotAllowed


def budget_of(settings: Settings, over_budget: bool) -> Budget:
    """What is left to check: nothing, where a person may say that he wants it all the same, and does."""
    return Budget() if over_budget and settings.budget.asks else settings.budget


async def accept_in_background(call: Call[Any, Any], turn: NewTurn) -> Response:
    await call.gateway.windows.check(turn.text, turn.model)
    await call.gateway.limits.of_message(call.caller)
    accepted = await claiming(call, turn.session_id, lambda: call.gateway.intake.accept(turn))
    task = accepted.task
    _tell(call, accepted)
    url = stream_url(task.id)
    answer = AcceptedTurn(
        task_id=task.id,
        session_id=task.session_id,
        message_id=task.user_message_id,
        assistant_message_id=task.message_id,
        status=task.status,
        position=accepted.position,
        stream_url=url,
        steers=task.steers,
    )
    return json_response(answer, 202, {"Location": url.removesuffix("/stream")})


async def accept_and_follow(
    call: Call[Any, Any], turn: NewTurn, params: StreamParams, *, counts: bool = False
) -> Response:
    """Start the turn and stream its answer from the beginning; so does a repeat of the same message. `counts`: as of
    `open_stream`."""
    gateway = call.gateway
    await gateway.windows.check(turn.text, turn.model)
    await gateway.limits.of_message(call.caller)
    await command(gateway.redis, "PING")
    accepted = await claiming(call, turn.session_id, lambda: gateway.intake.accept(turn))
    task_id = accepted.task.id
    _tell(call, accepted)
    if not accepted.published:
        raise RedisUnavailable("the turn was accepted, and is not queued yet")
    if not accepted.created:
        # Raises TaskExpired for a turn that nobody will ever write to again.
        await gateway.lookup.find(task_id, turn.user_id)
    headers = run_headers(task_id)
    return await open_stream(
        gateway, call.caller, task_id, version=params.version, headers=headers, counts=counts, answer_only=True
    )


def run_headers(task_id: str) -> dict[str, str]:
    """By which clients that resume know a turn."""
    return {RUN_ID_HEADER: task_id, STREAM_ID_HEADER: task_id}


def _tell(call: Call[Any, Any], accepted: Accepted) -> None:
    """In the request's log line, and in the count."""
    task = accepted.task
    note(task_id=task.id, session_id=task.session_id, trace_id=trace_id_of(task.traceparent))
    if accepted.created:
        call.gateway.metrics.accepted.inc()
