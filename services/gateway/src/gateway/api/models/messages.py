"""A message: as it comes, from our own clients and from the AI SDK's, and as it is shown."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, StrictBool, ValidationError, model_validator
from sluiceway.operation.answer_format import AnswerFormat, UnfitSchema
from sluiceway.store.records import Message
from sluiceway.store.sessions.feedback import rating_of
from sluiceway.wire.client_tools import ClientTools
from sluiceway.wire.question import Page, Question

from gateway.api.inputs import ClientId
from gateway.api.models.feedback import FeedbackView
from gateway.api.models.files import AttachedFile
from gateway.api.models.texts import ModelName, NewSessionId, PageText, ParentId, check_text
from gateway.api.models.wire import Asked, Wire
from gateway.api.problems import SchemaRefused

Policy = Literal["enqueue", "interrupt", "reject", "steer", "latest"]
_POLICY = (
    "what to do while another turn of the session runs; null, or nothing: wait for it as with `enqueue`, but be"
    " answered at once where it only waits for operations"
)


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


_TEMPORARY = (
    "a session that this message begins is temporary: listed and searched nowhere, told nothing of what is known about"
    " the person, and deleted a day after something happened in it last"
)


class PageContext(Asked):
    """What the user is looking at. The model is told its content as material, not as instructions."""

    url: PageText = Field(max_length=2048)
    content: PageText

    @property
    def page(self) -> Page:
        return Page(self.url, self.content)


class JsonSchema(Asked):
    """As OpenAI's API has it. The answer is one JSON object that fits `schema`."""

    model_config = ConfigDict(protected_namespaces=())

    name: str = Field(default="answer", pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = Field(default=None, max_length=1000)
    answer_schema: dict[str, Any] = Field(alias="schema")
    strict: StrictBool | None = None


class ResponseFormat(Asked):
    """The form that the answer is to have. One that does not fit is asked for once more, then told as an error."""

    type: Literal["json_schema"]
    json_schema: JsonSchema

    @property
    def stored(self) -> dict[str, Any]:
        """As a turn keeps it. Raises SchemaRefused."""
        asked = self.json_schema
        try:
            return AnswerFormat(asked.name, asked.answer_schema, bool(asked.strict)).stored
        except UnfitSchema as error:
            raise SchemaRefused(f"The schema of the answer is not taken: {error}.") from None


class NewMessage(Asked):
    """A user's message. With an id of the client's own it can be sent again safely. With files it may have no text."""

    id: ClientId | None = None
    message: PageText = Field(description="what the user says; it may be empty where files go with it")
    files: list[AttachedFile] = Field(default_factory=list, max_length=100, description="that go with the message")
    context: PageContext | None = Field(default=None, description="what the user is looking at")
    is_user_message: StrictBool = Field(
        default=True, description="false: the application says this; the model is told that its user did not"
    )
    policy: Policy | None = Field(default=None, description=_POLICY)
    parent_id: ParentId | None = Field(default=None, description=_PARENT)
    model: ModelName | None = None
    over_budget: StrictBool = Field(default=False, description=_OVER_BUDGET)
    response_format: ResponseFormat | None = None
    tools: ClientTools = Field(
        default_factory=dict, description="tools that the client runs, by name; see `POST …/outputs/{tool_call_id}`"
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.files:
            check_text(self.message)
        return self

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
    policy: Policy | None = Field(default=None, description=_POLICY)
    model: ModelName | None = None
    over_budget: StrictBool = Field(default=False, description=_OVER_BUDGET)
    temporary: StrictBool = Field(default=False, description=_TEMPORARY)
    response_format: ResponseFormat | None = None
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

    feedback: FeedbackView | None = Field(default=None, description="what the owner thinks of this answer")

    @classmethod
    def of(
        cls, message: Message, siblings: Sequence[str] | None = None, feedback: tuple[int, str] | None = None
    ) -> "MessageView":
        known = {name: getattr(message, name) for name in cls.model_fields if name not in ("siblings", "feedback")}
        said = FeedbackView(rating=rating_of(feedback[0]), comment=feedback[1]) if feedback else None
        return cls(siblings=list(siblings) if siblings else None, feedback=said, **known)


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
