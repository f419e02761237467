"""Everything that stands on the wire of the plain routes and of the AI SDK's requests, as frozen models.

Field names are ours (snake_case) except where the AI SDK chose them. A field of a request that is not known is refused
by its name: what it asked for would not be done. Stock clients of the AI SDK add fields of their own: ignored.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel, StrictBool, ValidationError
from pydantic_core import PydanticCustomError, from_json
from sluiceway.feeds.agent_events import AgentStream
from sluiceway.feeds.job_events import JobEvent
from sluiceway.ids import CLIENT_ID_PATTERN
from sluiceway.store.people import ErasureReceipt
from sluiceway.store.records import Message, Operation, OperationStatus, Session, Task
from sluiceway.store.search import FoundMessage
from sluiceway.store.understandings import MAX_BYTES, MAX_FACTS, Understanding
from sluiceway.store.webhooks import Sender, Webhook, WebhookKind, WebhookOutcome
from sluiceway.wire.client_tools import ClientTools
from sluiceway.wire.entry_id import EntryId, format_entry_id
from sluiceway.wire.question import Page, Question
from sluiceway.wire.task import Status
from sluiceway.wire.tools import ToolSpec

from gateway.api.inputs import ClientId
from gateway.api.problems import EmptyMessage
from gateway.api.whitespace import NUL_FREE_PATTERN, TEXT_PATTERN, is_whitespace

Policy = Literal["enqueue", "interrupt", "reject"]
# Words that stand where an id could, in the routes of this or a coming version; and what a URL cannot carry.
RESERVED_IDS = ("sessions", "tasks", "operations", "jobs", "agents", "webhooks", "tools", ".", "..")

_OVER_BUDGET = (
    "a person knows that the day's budget is used up, and wants it all the same; where BUDGET_REACHED is `ask`"
)


_PARENT = (
    "the message of the session that this one follows: what followed that so far stays as another branch. Empty: it is "
    "the first. Without it, or where it is not of this session, it follows the last"
)


_AI_SDK_PARENT = (
    "the message of the session that the new one follows, null for the first: what followed that so far stays as "
    "another branch. Left out: the one before the last in `messages`, or where that is alone the last of the session. "
    "Anything but an id or null is the client's own"
)


def stream_url(task_id: str) -> str:
    return f"/api/chat/tasks/{task_id}/stream"


def _not_reserved(value: str) -> str:
    if value in RESERVED_IDS:
        raise PydanticCustomError("reserved", "is a reserved word")
    return value


def _without_nul(value: str) -> str:
    if "\x00" in value:
        raise PydanticCustomError("nul", "must not have a NUL character")
    return value


def _with_text(value: str) -> str:
    if is_whitespace(value):
        raise PydanticCustomError(EmptyMessage.code, "must not be empty")
    return value


def _title(value: str) -> str:
    if is_whitespace(value):
        raise PydanticCustomError("empty", "must not be empty")
    return value.strip()


NewSessionId = Annotated[
    ClientId, AfterValidator(_not_reserved), Field(json_schema_extra={"not": {"enum": list(RESERVED_IDS)}})
]
MessageText = Annotated[
    str,
    AfterValidator(_without_nul),
    AfterValidator(_with_text),
    Field(json_schema_extra={"pattern": TEXT_PATTERN}),
]
Title = Annotated[
    str,
    Field(max_length=200, json_schema_extra={"pattern": TEXT_PATTERN}),
    AfterValidator(_without_nul),
    AfterValidator(_title),
]
ApprovalReason = Annotated[
    str, Field(max_length=2000, json_schema_extra={"pattern": NUL_FREE_PATTERN}), AfterValidator(_without_nul)
]
ParentId = Annotated[str, Field(pattern=f"^$|{CLIENT_ID_PATTERN}")]
PageText = Annotated[str, Field(json_schema_extra={"pattern": NUL_FREE_PATTERN}), AfterValidator(_without_nul)]
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/@-]{1,100}$")]


class Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Asked(Wire):
    """A request of a plain route."""

    model_config = ConfigDict(extra="forbid")


class NewSession(Asked):
    """A session's beginning. Without an id the service makes one."""

    id: NewSessionId | None = None
    title: Title | None = None


class SessionPatch(Asked):
    title: Title


class PageContext(Asked):
    """What the user is looking at. The model is told its content as material, not as instructions."""

    url: PageText = Field(max_length=2048)
    content: PageText

    @property
    def page(self) -> Page:
        return Page(self.url, self.content)


class NewMessage(Asked):
    """A user's message. With an id of the client's own it can be sent again safely."""

    id: ClientId | None = None
    message: MessageText
    context: PageContext | None = Field(default=None, description="what the user is looking at")
    is_user_message: StrictBool = Field(
        default=True, description="false: the application says this; the model is told that its user did not"
    )
    policy: Policy = Field(default="enqueue", description="what to do while another turn of the session runs")
    parent_id: ParentId | None = Field(default=None, description=_PARENT)
    model: ModelName | None = None
    over_budget: StrictBool = Field(default=False, description=_OVER_BUDGET)
    tools: ClientTools = Field(
        default_factory=dict, description="tools that the client runs, by name; see `POST …/outputs/{tool_call_id}`"
    )

    @property
    def question(self) -> Question:
        return Question(self.context.page if self.context else None, by_user=self.is_user_message)


class AiSdkRequest(Wire):
    """What the AI SDK's chat transports post. Of `messages` only a new user message at the end is taken: the
    service's own history is the truth. The one before it says where that stands. Fields that are not known are the
    client's own, and ignored."""

    id: NewSessionId | None = Field(default=None, description="the chat's id; without one a new session is made")
    messages: list[Any] = Field(default_factory=list)
    trigger: Literal["submit-message", "regenerate-message"] = "submit-message"
    message_id: ClientId | None = Field(default=None, alias="messageId")
    parent_id: Any = Field(default=None, alias="parentId", description=_AI_SDK_PARENT)
    policy: Policy = "enqueue"
    model: ModelName | None = None
    over_budget: StrictBool = Field(default=False, description=_OVER_BUDGET)
    tools: ClientTools = Field(
        default_factory=dict, description="tools that the client runs, by name; see `POST …/outputs/{tool_call_id}`"
    )
    context: Any = Field(
        default=None, description="`{url, content}`, what the user is looking at; anything else is the client's own"
    )
    is_user_message: Any = Field(
        default=True, description="`false`: the application says this; anything else is the client's own"
    )

    @property
    def question(self) -> Question:
        return Question(_page_of(self.context), by_user=self.is_user_message is not False)


def _page_of(context: object) -> Page | None:
    try:
        return PageContext.model_validate(context).page
    except ValidationError:
        return None


class SessionView(Wire):
    id: str
    title: str | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, session: Session) -> "SessionView":
        return cls(id=session.id, title=session.title, created_at=session.created_at, updated_at=session.updated_at)


class SessionPage(Wire):
    """Newest first. `next_cursor` is null on the last page."""

    sessions: list[SessionView]
    next_cursor: str | None


class ErasureReceiptView(Wire):
    """What was erased. `person`: the SHA-256 of his name. `erased_by`: `self`, or the name of an operator's key."""

    id: str
    person: str
    erased_by: str
    counts: dict[str, int]
    erased_at: datetime

    @classmethod
    def of(cls, receipt: ErasureReceipt) -> "ErasureReceiptView":
        return cls.model_validate(receipt, from_attributes=True)


class MessageView(Wire):
    """A message with its parts as the AI SDK's `UIMessage` has them."""

    id: str
    role: Literal["user", "assistant"]
    parts: list[dict[str, Any]]
    sequence: int
    created_at: datetime
    metadata: dict[str, Any] | None
    parent_id: str | None = Field(
        default=None, description="the message that it follows; empty: none; null: from before that was noted"
    )
    siblings: list[str] | None = Field(
        default=None,
        description=(
            "where an edit or another answer has made branches here: the ids of the messages that may stand in this "
            "place, this one among them, in the order in which they were written"
        ),
    )

    @classmethod
    def of(cls, message: Message, siblings: Sequence[str] | None = None) -> "MessageView":
        known = {name: getattr(message, name) for name in cls.model_fields if name != "siblings"}
        return cls(siblings=list(siblings) if siblings else None, **known)


class ActiveTask(Wire):
    """The turn that runs or is next. Its answer is not among the messages yet: follow `stream_url` for it."""

    task_id: str
    status: Status
    message_id: str
    stream_url: str
    last_event_id: str | None

    @classmethod
    def of(cls, task: Task, last_id: EntryId | None) -> "ActiveTask":
        return cls(
            task_id=task.id,
            status=task.status,
            message_id=task.message_id,
            stream_url=stream_url(task.id),
            last_event_id=format_entry_id(last_id) if last_id else None,
        )


class SessionDetail(SessionView):
    """A session with a page of its messages, in order. `has_more`: there are older ones, `?before_sequence=`."""

    messages: list[MessageView]
    has_more: bool
    active_task: ActiveTask | None


class FoundMessageView(Wire):
    """`snippet`: the words around what was found, as plain text."""

    session_id: str
    session_title: str | None
    message_id: str
    role: Literal["user", "assistant"]
    sequence: int
    created_at: datetime
    snippet: str

    @classmethod
    def of(cls, found: FoundMessage) -> "FoundMessageView":
        return cls.model_validate(found, from_attributes=True)


class SearchResult(Wire):
    """Sessions by their titles, and messages."""

    sessions: list[SessionView]
    messages: list[FoundMessageView]


class ExportedMessage(Wire):
    """`superseded`: it is on a branch that is not shown."""

    id: str
    role: Literal["user", "assistant"]
    parts: list[dict[str, Any]]
    sequence: int
    created_at: datetime
    metadata: dict[str, Any] | None
    parent_id: str | None
    superseded: bool


class SessionExport(Wire):
    """A whole session."""

    id: str
    title: str | None
    created_at: datetime
    messages: list[ExportedMessage]


class ShownBranch(Asked):
    """The branch of this message is shown, to the end at which it was left."""

    message_id: ClientId


class Fork(Asked):
    """A new session begins with what leads to `message_id`, and that; without it, with all that is shown. With an id of
    the client's own it can be sent again safely."""

    message_id: ClientId | None = None
    id: NewSessionId | None = None


class AcceptedTurn(Wire):
    """It is durable now and will be answered. `position` 0 runs or is next; n waits for n others."""

    task_id: str
    session_id: str
    message_id: str = Field(description="the user's message")
    assistant_message_id: str
    status: Status
    position: int
    stream_url: str


class OperationSummary(Wire):
    """A tool call, without what it answered."""

    operation_id: str
    tool_call_id: str
    tool_name: str
    status: OperationStatus
    attempt: int = Field(description="how often a tool runner has begun it")
    error: dict[str, Any] | None
    deadline_at: datetime
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @classmethod
    def fields_of(cls, operation: Operation) -> dict[str, Any]:
        """What a view shows of the operation itself."""
        known = {name: getattr(operation, name) for name in cls.model_fields if hasattr(operation, name)}
        return {"operation_id": operation.id, **known}

    @classmethod
    def summary_of(cls, operation: Operation) -> "OperationSummary":
        return cls(**cls.fields_of(operation))


class OperationView(OperationSummary):
    """A tool call. `output` is its whole result, also where the conversation has a shortened one."""

    task_id: str
    session_id: str
    output: Any

    @classmethod
    def of(cls, operation: Operation, output: Any) -> "OperationView":
        return cls(output=output, **cls.fields_of(operation))


class TaskView(Wire):
    task_id: str
    session_id: str
    message_id: str
    assistant_message_id: str
    status: Status
    attempt: int
    model: str | None
    error: dict[str, Any] | None
    usage: dict[str, Any] | None
    prompt: dict[str, Any] | None = Field(description="with which system prompt: `name`, `version` and `source`")
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    stream_url: str
    operations: list[OperationSummary] = Field(description="its tool calls, in their order")

    @classmethod
    def of(cls, task: Task, operations: Sequence[Operation]) -> "TaskView":
        return cls(
            task_id=task.id,
            session_id=task.session_id,
            message_id=task.user_message_id,
            assistant_message_id=task.message_id,
            status=task.status,
            attempt=task.attempt,
            model=task.model,
            error=task.error,
            usage=task.usage,
            prompt=task.prompt,
            created_at=task.created_at,
            started_at=task.started_at,
            ended_at=task.ended_at,
            stream_url=stream_url(task.id),
            operations=[OperationSummary.summary_of(operation) for operation in operations],
        )


class CancelledTurn(Wire):
    """The status is the one of this moment: a running turn ends within a second, one that had ended stays as it was."""

    task_id: str
    status: Status


class ApprovalAnswer(Asked):
    approved: StrictBool
    reason: ApprovalReason | None = None


class ClientOutputGiven(Asked):
    """What came of a call that the client ran: its output, or why it failed."""

    output: Any = None
    error: Annotated[str, Field(min_length=1, max_length=8192)] | None = None


class AnswerTaken(Wire):
    """`recorded`: `remaining` other calls of the step wait for an answer, too. `accepted`: `task_id` goes on."""

    status: Literal["recorded", "accepted"]
    remaining: int
    task_id: str | None = None
    assistant_message_id: str | None = None
    stream_url: str | None = None


class ToolView(Wire):
    """`parameters`: the JSON schema of its arguments. `text_field`: the argument that a text alone is taken for."""

    name: str
    title: str | None
    description: str
    parameters: dict[str, Any]
    text_field: str | None
    approval: bool = Field(description="a person is asked before each call")

    @classmethod
    def of(cls, spec: ToolSpec) -> "ToolView":
        return cls.model_validate(spec, from_attributes=True)


class ToolList(Wire):
    tools: list[ToolView]


class AcceptedWebhook(Wire):
    """It is durable now. A repeat of it is answered the same."""

    operation_id: str
    status: Literal["accepted"] = "accepted"


class WebhookView(Wire):
    """An entry of the journal. `applied_at`: when it was dealt with, whatever the outcome."""

    id: str
    operation_id: str
    task_id: str
    kind: WebhookKind
    webhook_id: str = Field(description="the sender's id of it")
    sender: Sender
    body: dict[str, Any]
    outcome: WebhookOutcome
    received_at: datetime
    applied_at: datetime | None

    @classmethod
    def of(cls, webhook: Webhook) -> "WebhookView":
        known = {name: getattr(webhook, name) for name in cls.model_fields if name != "id"}
        return cls(id=str(webhook.id), **known)


class WebhookPage(Wire):
    """Newest first. `next_cursor` is null on the last page."""

    webhooks: list[WebhookView]
    next_cursor: str | None


class JobEventView(Wire):
    """`data` is the event. Where somebody has stored what is no JSON, it is that text."""

    id: str
    event_type: str
    timestamp: str
    data: Any

    @classmethod
    def of(cls, event: JobEvent) -> "JobEventView":
        try:
            data = from_json(event.data, allow_inf_nan=False)
        except ValueError:
            data = event.data.decode(errors="replace")
        return cls(id=event.entry_id, event_type=event.event_type, timestamp=event.timestamp, data=data)


class JobHistory(Wire):
    """In the order in which they were published. `next_cursor` is null on the last page."""

    job_id: str
    events: list[JobEventView]
    next_cursor: str | None


class AgentStreamView(Wire):
    """`sequence` is that of the newest event. `active_at`: when it was begun, published to or closed last."""

    task_id: str
    status: Literal["open", "closed"]
    sequence: int
    created_at: datetime
    active_at: datetime
    events_url: str

    @classmethod
    def of(cls, stream: AgentStream) -> "AgentStreamView":
        return cls(
            task_id=stream.task_id,
            status="open" if stream.open else "closed",
            sequence=stream.sequence,
            created_at=stream.created_at,
            active_at=stream.active_at,
            events_url=f"/api/chat/agents/{stream.task_id}/events",
        )


class NewUnderstanding(RootModel[Annotated[dict[str, Any], Field(max_length=MAX_FACTS)]]):
    """What is known about the caller: facts by their names."""


class UnderstandingView(Wire):
    """`facts` by their names; those of the tool `remember` are texts. `updated_at` is null where there never was one.
    There is room for `max_facts`, and for `max_bytes` of JSON."""

    facts: dict[str, Any]
    updated_at: datetime | None
    max_facts: int = MAX_FACTS
    max_bytes: int = MAX_BYTES

    @classmethod
    def of(cls, understanding: Understanding) -> "UnderstandingView":
        return cls(facts=dict(understanding.facts), updated_at=understanding.updated_at)


class SignedIn(Wire):
    """`expires_at`: until then the cookie is good."""

    user_id: str
    expires_at: datetime | None


class StreamTokenView(Wire):
    """`expires_at`: until then a stream may be opened with it."""

    token: str
    expires_at: datetime
    stream_url: str


class Idle(Wire):
    """There was nothing to stop."""

    status: Literal["idle"] = "idle"


class Fault(Wire):
    """One thing wrong with a request: where it is in the body (a JSON pointer) or which parameter it is, and why."""

    detail: str
    pointer: str | None = None
    name: str | None = None


class ProblemBody(BaseModel):
    """RFC 9457. `code` is stable; some problems have further members."""

    model_config = ConfigDict(frozen=True, title="Problem", extra="allow")

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    errors: list[Fault] = Field(default_factory=list)


class AnyObject(RootModel[dict[str, Any]]):
    """A JSON object that is described elsewhere."""


class Check(Wire):
    ok: bool
    detail: str


class Readiness(Wire):
    """Whether a message would be accepted and answered. The checks `settings`, `completion_consumers`, `tool_runners`
    and `model` are told, and do not count."""

    status: Literal["ready", "not_ready"]
    checks: dict[str, Check]


class Health(Wire):
    status: Literal["ok"] = "ok"


class Limits(Wire):
    """0: no limit. Those of callers and addresses do not count where `auth` is `none`; what one may use a day does."""

    max_body_bytes: int
    max_message_chars: int
    max_context_chars: int = Field(description="of the page that a message comes with")
    max_queued_per_session: int
    max_turns_per_user: int
    max_sessions_per_hour: int
    max_requests_per_minute: int
    max_requests_per_minute_per_key: int
    max_requests_per_minute_per_address: int
    max_newcomers_per_hour: int
    max_streams_per_user: int
    max_streams_per_address: int
    daily_tokens_per_user: int
    daily_cost_per_user: float
    default_page_size: int
    max_page_size: int


class PublicConfig(Wire):
    """What a client may want to know before it asks."""

    version: str
    auth: Literal["none", "anonymous", "jwt"]
    auth_required: bool
    sign_in_url: str | None = Field(default=None, description="where a browser signs in, with `?return_to=` a path")
    models: list[str] = Field(description="what a request may ask for; empty: whatever the model server knows")
    policies: list[Policy]
    protocols: list[int]
    limits: Limits
    model_windows: dict[str, int] = Field(
        description=(
            "how many tokens a model takes, its answer included, as far as workers know; under the empty name that "
            "of the default model"
        )
    )
    heartbeat_seconds: float
    replay_seconds: int = Field(description="how long an ended turn is what the stream of its chat shows")
    retention_seconds: int = Field(description="how long an ended turn's stream can still be replayed")
