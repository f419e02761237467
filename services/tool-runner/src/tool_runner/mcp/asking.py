"""What the handle of a task says of what it asks: the question that a person is at, what he said, and what was answered
before.

Guarantees: an answer is in the handle until the server has it, so a runner that dies between loses none, and the next
one tells it again. A question that was answered is not asked again, however late its server sees that.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from sluiceway.wire.elicitation import Elicitation
from sluiceway.wire.json_values import clean_text

from tool_runner.mcp.elicitations import NotAnswerable, answer_to, elicitation_of
from tool_runner.mcp.tasks import TaskState

# A server that asks for ever is not a person's to be kept busy by.
_MOST_QUESTIONS = 20
# Those of all questions are kept until the task ends.
_MAX_KEY_CHARS = 200


class _Kept(BaseModel):
    """In the handle. `answer` is written there by the store, when a person has spoken."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    task_id: str = Field(default="", alias="taskId")
    key: str = ""
    elicitation: Elicitation | None = None
    answered: tuple[str, ...] = ()
    count: int = 0
    answer: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Asking:
    """`said`: by the person, to the question `key`; None: nothing yet."""

    task_id: str
    key: str = ""
    elicitation: Elicitation | None = None
    answered: tuple[str, ...] = ()
    count: int = 0
    said: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, handle: Mapping[str, Any]) -> "Asking":
        kept = _Kept.model_validate(handle)
        said = kept.answer if kept.elicitation is not None else None
        return cls(kept.task_id, kept.key, kept.elicitation, kept.answered, kept.count, said)

    @property
    def handle(self) -> dict[str, Any]:
        """As it is stored: without what was said, once that is told."""
        if not self.count:
            return {"taskId": self.task_id}
        kept: dict[str, Any] = {"taskId": self.task_id, "answered": list(self.answered), "count": self.count}
        if self.elicitation is not None:
            kept |= {"key": self.key, "elicitation": self.elicitation.model_dump(mode="json")}
        return kept | ({"answer": dict(self.said)} if self.said is not None else {})

    @property
    def question(self) -> Elicitation:
        """Raises NotAnswerable: none is asked."""
        if self.elicitation is None:
            raise NotAnswerable
        return self.elicitation

    @property
    def message(self) -> str:
        return self.elicitation.message if self.elicitation is not None else ""

    def answers(self) -> dict[str, Any]:
        """What the server is to be told. Raises ValueError: the person has to be asked again, for that reason."""
        if self.elicitation is None or self.said is None:
            return {}
        return {self.key: answer_to(self.elicitation, self.said)}

    def told(self) -> "Asking":
        """The server has the answer."""
        return replace(self, key="", elicitation=None, said=None, answered=(*self.answered, self.key))

    def again(self, why: str, operation_id: str) -> "Asking":
        """What was said is no answer."""
        if self.count >= _MOST_QUESTIONS:
            raise NotAnswerable
        return self._numbered(self.question.model_copy(update={"problem": why}), operation_id, self.key)

    def has_all(self, state: TaskState) -> bool:
        """Whether a task has the answers to all that it asks, and has perhaps not seen them yet."""
        return bool(state.input_requests) and set(state.input_requests or {}) <= set(self.answered)

    def next(self, state: TaskState, operation_id: str, source: str) -> "Asking":
        """The next question of the task. Raises NotAnswerable."""
        for key, request in (state.input_requests or {}).items():
            if key not in self.answered and self.count < _MOST_QUESTIONS and _is_kept_as_it_is(key):
                before = replace(self, count=self.count - 1) if key == self.key else self
                return before._numbered(elicitation_of(request, source), operation_id, key)
        raise NotAnswerable

    def _numbered(self, elicitation: Elicitation, operation_id: str, key: str) -> "Asking":
        """Looked at twice, before anybody was asked, it is the same question."""
        count = self.count + 1
        digest = sha256(f"{operation_id} {count} {key}".encode()).hexdigest()[:32]
        asked = elicitation.model_copy(update={"approval_id": f"apr_{digest}"})
        return replace(self, key=key, elicitation=asked, count=count, said=None)


def _is_kept_as_it_is(key: str) -> bool:
    return len(key) <= _MAX_KEY_CHARS and key == clean_text(key)
