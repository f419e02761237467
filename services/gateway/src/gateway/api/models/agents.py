"""The stream of an agent."""

from datetime import datetime
from typing import Literal

from sluiceway.feeds.agent_events import AgentStream

from gateway.api.models.wire import Wire


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
