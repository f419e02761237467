"""What is kept for a successor beside what was shown."""

from dataclasses import dataclass
from urllib.parse import quote, unquote

from sluiceway_llm.model_events import Reached


@dataclass(frozen=True, slots=True)
class Note:
    """Of which step of the message, and how far its answer was."""

    step: int
    reached: Reached

    def format(self) -> str:
        reached = self.reached
        response_id = quote(reached.response_id, safe="")
        return f"{self.step} {reached.sequence} {response_id} {reached.text_chars} {reached.reasoning_chars}"

    @classmethod
    def parse(cls, text: str) -> "Note | None":
        """None where there is none, or none that can be read: then the step begins anew."""
        try:
            step, sequence, response_id, *told = text.split(" ")
            return cls(int(step), Reached(unquote(response_id), int(sequence), *(int(chars) for chars in told[:2])))
        except ValueError:
            return None
