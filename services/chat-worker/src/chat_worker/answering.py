"""A turn that is being answered: its history, its answer so far, and what a predecessor had of the next step."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from sluiceway.store.records import Task
from sluiceway.stream.writer import Begun
from sluiceway.turn.shown import Durable
from sluiceway.wire.message import MessageFold, count_steps, text_of
from sluiceway.wire.question import Question
from sluiceway.wire.tools import ToolSpec
from sluiceway_llm.model import Model, Reached
from sluiceway_llm.retry import Patience

from chat_worker.account import Account
from chat_worker.beside import Beside
from chat_worker.context.context import Held
from chat_worker.direct import read_command
from chat_worker.flusher import StreamWriter
from chat_worker.metrics import TurnMeter
from chat_worker.model_wait import ModelWait
from chat_worker.takeover import Continuable, Takeover


@dataclass(frozen=True, slots=True)
class Note:
    """What is kept for a successor beside what was shown: of which step of the message, and how far its answer was."""

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


@dataclass(slots=True)
class Answering:
    """`held`: what was said before. `usage`: of the steps before the next one. `patience`: what is left of it, for a
    model that is away.

    `beside`: what is done meanwhile, and has to show something. `account`: what this attempt asked of models and is not
    durable yet.

    `client_tools`: what the model may call that the client runs. `facts`: what the log is to say of the turn's end.

    `waited`: what the turn has gone through before, where its model was away.

    Of the next step: `continues` with what a predecessor has shown of it; `reached`: what was had of its answer.
    """

    task: Task
    held: Held
    writer: StreamWriter
    begun: Begun
    durable: Durable
    patience: Patience
    meter: TurnMeter
    fold: MessageFold = field(default_factory=MessageFold)
    continues: bool = False
    reached: Reached | None = None
    usage: dict[str, Any] | None = None
    client_tools: Mapping[str, ToolSpec] = field(default_factory=dict)
    facts: dict[str, str | int] = field(default_factory=dict)
    waited: ModelWait | None = None
    account: Account = field(default_factory=Account)
    beside: Beside = field(default_factory=Beside)
    system_prompt: str = ""

    def __post_init__(self) -> None:
        self.usage = self.task.usage

    @property
    def command(self) -> tuple[str, str] | None:
        """The tool that the user's message calls by its name, and what it says behind that. The application commands
        nothing in its user's name."""
        said = self.held.conversation.messages
        return read_command(text_of(said[-1].parts)) if said and Question.read(said[-1].metadata).by_user else None

    @property
    def steps(self) -> int:
        """How many steps the answer has, without one that is about to be done again."""
        return count_steps(self.fold.parts) - self.fold.step_open

    @property
    def waited_in_step(self) -> ModelWait | None:
        """What the next step has gone through before."""
        return self.waited if self.waited is not None and self.waited.step == self.steps + 1 else None

    @property
    def prefix(self) -> str:
        """The text that the model is to go on with."""
        return self.fold.open_text if self.continues and self.reached is None else ""

    def able(self, model: Model) -> Continuable:
        """What the step could go on with. What we have said to a command is nothing that a model goes on with."""
        note = Note.parse(self.begun.reached) if model.reattaches else None
        if note is not None and note.step == count_steps(self.durable.parts) + 1:
            self.reached = note.reached
            return "answer"
        return "text" if model.continues and self.command is None else "nothing"

    def take(self, beginning: Takeover) -> None:
        """Go on from there. What is shown anew is read again from the beginning of its answer."""
        self.fold, self.continues = beginning.fold, beginning.continues
        if self.reached is not None and not self.continues:
            self.reached = Reached(self.reached.response_id, sequence=-1)
