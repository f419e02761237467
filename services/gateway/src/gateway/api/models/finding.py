"""What was found in conversations."""

from datetime import datetime
from typing import Literal

from sluiceway.store.sessions.search import FoundMessage

from gateway.api.models.sessions import SessionView
from gateway.api.models.wire import Wire


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
