"""A message: as it comes, from our own clients and from the AI SDK's, and as it is shown."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import Field, StrictBool, ValidationError
from sluiceway.store.records import Message
from sluiceway.wire.client_tools import ClientTools
from sluiceway.wire.question import Page, Question

from gateway.api.inputs import ClientId
from gateway.api.models.texts import MessageText, ModelName, NewSessionId, PageText, ParentId
from gateway.api.models.wire import Asked, Wire

Policy = Literal["enqueue", "interrupt", "reject", "steer", "latest"]


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
