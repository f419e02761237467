"""What a job tells of itself."""

from typing import Any

from pydantic_core import from_json
from sluiceway.feeds.job_events import JobEvent

from gateway.api.models.wire import Wire


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
