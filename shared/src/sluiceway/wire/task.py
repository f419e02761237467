"""What everybody knows of a task: its states, and what is written of it at its creation."""

from dataclasses import dataclass, field
from typing import Literal

Status = Literal["queued", "running", "waiting", "completed", "failed", "cancelled"]
EndStatus = Literal["completed", "failed", "cancelled"]
ENDED = frozenset({"completed", "failed", "cancelled"})
# Of a task that began its message: there was nothing before it.
NOTHING = "[]"


@dataclass(frozen=True, slots=True)
class TaskFields:
    """What is written of a task at its creation, and again when Redis forgot it.

    `before`: the parts that its message had before it, as JSON; see turn/before.py. None: whoever writes does not know.
    """

    task_id: str
    session_id: str
    user_id: str | None
    message_id: str
    created_at: str
    before: str | None = field(default=None, repr=False)

    def flat(self) -> list[str]:
        pairs = ((name, getattr(self, name)) for name in self.__slots__)
        return [text for name, value in pairs if value is not None for text in (name, value)]
