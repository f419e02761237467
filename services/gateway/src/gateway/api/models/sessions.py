"""A session, its pages, and what is said of it."""

from datetime import datetime

from pydantic import Field, StrictBool
from sluiceway.store.records import Session

from gateway.api.inputs import ClientId
from gateway.api.models.messages import ExportedMessage, MessageView
from gateway.api.models.texts import NewSessionId, Title
from gateway.api.models.turns import ActiveTask
from gateway.api.models.wire import Asked, Wire


class NewSession(Asked):
    """A session's beginning. Without an id the service makes one."""

    id: NewSessionId | None = None
    title: Title | None = None
    temporary: StrictBool = False


class SessionPatch(Asked):
    """What is left out, or null, stays as it is."""

    title: Title | None = None
    pinned: StrictBool | None = None
    archived: StrictBool | None = None


class SessionView(Wire):
    """`active_task_id`: the turn that runs or is about to. `awaits_you`: it has stopped for an answer of yours."""

    id: str
    title: str | None
    created_at: datetime
    updated_at: datetime
    active_task_id: str | None = None
    awaits_you: bool = False
    pinned_at: datetime | None = None
    temporary: bool = False
    archived_at: datetime | None = None

    @classmethod
    def of(cls, session: Session) -> "SessionView":
        return cls(
            id=session.id,
            title=session.title,
            created_at=session.created_at,
            updated_at=session.updated_at,
            active_task_id=session.active_task_id,
            awaits_you=session.approval_task_id is not None,
            pinned_at=session.pinned_at,
            temporary=session.temporary,
            archived_at=session.archived_at,
        )


class SessionPage(Wire):
    """Newest first. `next_cursor` is null on the last page. `pinned`, of the first page alone: those that are pinned,
    wherever in the list they stand, the one pinned last first; at most a hundred."""

    sessions: list[SessionView]
    pinned: list[SessionView] = Field(default_factory=list)
    next_cursor: str | None


class SessionDetail(SessionView):
    """A session with a page of its messages, in order. `has_more`: there are older ones, `?before_sequence=`.
    `steering`: the messages, by id, that wait to enter the turn that runs (`policy: steer`)."""

    messages: list[MessageView]
    has_more: bool
    active_task: ActiveTask | None
    background_tasks: list[ActiveTask] = Field(default_factory=list)
    steering: list[str] = Field(default_factory=list)


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
