"""The bodies of work queue entries. Services are deployed one by one: fields are only ever added, and are optional."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class ChatJob(BaseModel):
    """Ask a chat worker for the next step of a task."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["chat"] = "chat"
    task_id: str
    traceparent: str | None = None

    def encode(self) -> bytes:
        return self.model_dump_json(exclude_none=True).encode()
