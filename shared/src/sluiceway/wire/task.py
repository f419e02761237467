"""What everybody knows of a task: its states, and what is written of it at its creation."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["queued", "running", "waiting", "completed", "failed", "cancelled"]
EndStatus = Literal["completed", "failed", "cancelled"]
ENDED = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class TaskFields:
    """What is written of a task at its creation, and again when Redis forgot it."""

    task_id: str
    session_id: str
    user_id: str | None
    message_id: str
    created_at: str

    def flat(self) -> list[str]:
        pairs = ((name, getattr(self, name)) for name in self.__slots__)
        return [text for name, value in pairs if value is not None for text in (name, value)]
