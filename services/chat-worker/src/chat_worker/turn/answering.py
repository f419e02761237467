"""A turn that is being answered: its history, its answer so far, and what a predecessor had of the next step."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sluiceway.store.records import Task
from sluiceway.stream.writer import Begun
from sluiceway.turn.shown import Durable
from sluiceway.wire.message import MessageFold, count_steps, text_of
from sluiceway.wire.question import Question
from sluiceway.wire.tools import ToolSpec
from sluiceway_llm.calling.model import Model
from sluiceway_llm.calling.retry import Patience
from sluiceway_llm.model_events import Reached

from chat_worker.attempt import Attempt
from chat_worker.context.context import Held
from chat_worker.direct import read_command
from chat_worker.model_wait import ModelWait
from chat_worker.step.note import Note
from chat_worker.step.offer import Unfit
from chat_worker.turn.takeover import Continuable, Takeover


@dataclass(slots=True)
class Answering:
    """`held`: what was said before. `begun`, `durable`: what Redis and Postgres had of the answer when this attempt
    began. `patience`: what is left of it, for a model that is away; `waited`: what the turn has gone through before,
    where its model was away.

    `model`: which one is asked. `system_prompt`, and `client_tools`, what the model may call that the client runs: the
    same for all steps of the attempt.

    `broke_off`: how often its server has broken off in the middle of a text.

    `unfit`: an answer that was not of the form that was asked for, and is asked for once more.

    Of the next step: `continues` with what a predecessor has shown of it; `reached`: what was had of its answer.
    """

    attempt: Attempt
    held: Held
    begun: Begun
    durable: Durable
    patience: Patience
    waited: ModelWait | None = None
    model: str = ""
    system_prompt: str = ""
    client_tools: Mapping[str, ToolSpec] = field(default_factory=dict)
    fold: MessageFold = field(default_factory=MessageFold)
    continues: bool = False
    reached: Reached | None = None
    broke_off: int = 0
    unfit: Unfit | None = None

    @property
    def task(self) -> Task:
        return self.attempt.task

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
        """The text that the model is to continue."""
        return self.fold.open_text if self.continues and self.reached is None else ""

    def able(self, client: Model) -> Continuable:
        """What the step could continue. What we have said to a command is nothing that a model continues."""
        note = Note.parse(self.begun.reached) if client.reattaches else None
        if note is not None and note.step == count_steps(self.durable.parts) + 1:
            self.reached = note.reached
            return "answer"
        return "text" if client.continues and self.command is None else "nothing"

    def take(self, beginning: Takeover) -> None:
        """Continue from there. What is shown anew is read again from the beginning of its answer."""
        self.fold, self.continues = beginning.fold, beginning.continues
        if self.reached is not None and not self.continues:
            self.reached = Reached(self.reached.response_id, sequence=-1)
