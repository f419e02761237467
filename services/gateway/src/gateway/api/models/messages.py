"""A message: as it comes, from our own clients and from the AI SDK's, and as it is shown."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field, StrictBool, ValidationError
from sluiceway.store.records import Message
from sluiceway.wire.client_tools import ClientTools
from sluiceway.wire.question import Page, Question

from gateway.api.inputs import ClientId
from gateway.api.models.texts import MessageText, ModelName, NewSessionId, PageText
from gateway.api.models.wire import Asked, Wire

Policy = Literal["enqueue", "interrupt", "reject", "steer", "latest"]


_OVER_BUDGET = (
    "a person knows that the day's budget is used up, and wants it all the same; where BUDGET_REACHED is `ask`"
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
    service's own history is the truth. Fields that are not known are the client's own, and ignored."""

    id: NewSessionId | None = Field(default=None, description="the chat's id; without one a new session is made")
    messages: list[Any] = Field(default_factory=list)
    trigger: Literal["submit-message", "regenerate-message"] = "submit-message"
    message_id: ClientId | None = Field(default=None, alias="messageId")
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

    @classmethod
    def of(cls, message: Message) -> "MessageView":
        return cls.model_validate(message, from_attributes=True)
