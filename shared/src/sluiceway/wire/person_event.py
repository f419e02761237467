"""What a person's devices are told of his sessions: one model a kind, one union of them.

Guarantees: an event says what is so, never what has changed by how much, so one that comes twice does no harm; of words
it has a session's title, and nothing else. A client leaves out kinds and members that it does not know.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from sluiceway.wire.json_values import one_line
from sluiceway.wire.task import EndStatus


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    type: str
    session_id: str

    def encode(self) -> bytes:
        """JSON on one line for every reader; what is None is left out."""
        return one_line(self.model_dump_json(exclude_none=True).encode())


class SessionCreated(_Told):
    """There is a session: begun, forked, or claimed after signing in."""

    type: Literal["session-created"] = "session-created"
    title: str | None = None


class SessionRenamed(_Told):
    """A session has this title, by its owner or by a model."""

    type: Literal["session-renamed"] = "session-renamed"
    title: str


class SessionPinned(_Told):
    """A session is pinned by its owner, or is no longer."""

    type: Literal["session-pinned"] = "session-pinned"
    pinned: bool


class SessionArchived(_Told):
    """A session is out of its owner's list, or is back in it."""

    type: Literal["session-archived"] = "session-archived"
    archived: bool


class SessionChanged(_Told):
    """What a session shows is another: a branch, the messages that wait for their answer, or a question to the person
    that nobody waits for any more."""

    type: Literal["session-changed"] = "session-changed"


class SessionDeleted(_Told):
    """A session is gone, or another person's."""

    type: Literal["session-deleted"] = "session-deleted"


class TurnStarted(_Told):
    """A turn can be followed from now on. `continues`: nobody has asked for it just now: it goes on with the message of
    the turn before it, or answers with what operations in the background came to."""

    type: Literal["turn-started"] = "turn-started"
    task_id: str
    message_id: str
    continues: bool | None = None


class TurnEnded(_Told):
    """A turn has ended, and its message is whole in the session."""

    type: Literal["turn-ended"] = "turn-ended"
    task_id: str
    status: EndStatus


class TurnNeedsYou(_Told):
    """A turn has stopped for an answer: to a tool that asks first, or of a tool that runs in the client. That answer
    starts the turn that continues."""

    type: Literal["turn-needs-you"] = "turn-needs-you"
    task_id: str


PersonEvent = (
    SessionCreated
    | SessionRenamed
    | SessionPinned
    | SessionArchived
    | SessionChanged
    | SessionDeleted
    | TurnStarted
    | TurnEnded
    | TurnNeedsYou
)


class AnyPersonEvent(RootModel[Annotated[PersonEvent, Field(discriminator="type")]]):
    """One event, of any kind."""
