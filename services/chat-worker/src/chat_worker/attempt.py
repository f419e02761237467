"""One attempt at a turn: what stays the same for all steps that it makes."""

from dataclasses import dataclass, field

from sluiceway.store.records import Task

from chat_worker.account import Account
from chat_worker.beside import Beside
from chat_worker.flusher import StreamWriter
from chat_worker.metrics import TurnMeter

# How often a model was asked, among the facts: what was asked may have to be paid.
MODEL_CALLS = "model_calls"


@dataclass(frozen=True, slots=True)
class Attempt:
    """`account`: what it asked of models, and what the turn has used with the attempts before. `beside`: what others
    have to show in its stream. `background`: the calls that were started and do not block the turn. `facts`: what the
    log is to say of the turn's end: why it failed, and how often a model was called."""

    task: Task
    writer: StreamWriter
    meter: TurnMeter
    account: Account
    beside: Beside = field(default_factory=Beside)
    background: set[str] = field(default_factory=set)
    facts: dict[str, str | int] = field(default_factory=dict)
