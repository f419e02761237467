"""What the clients of one scenario saw, event by event, and what was done to the system meanwhile.

Times are seconds of `time.monotonic()`.
"""

import time
from dataclasses import dataclass, field
from typing import Literal

from chaos.questions import Question
from harness.clients.sse import Chunk

EntryId = tuple[int, int]
# How a fault shows at the client of a turn that it touched: its next event is of another attempt, came over another
# connection, or simply came. After a release the wait is counted from the last event of the old attempt. Where all
# is touched, and something may still be on its way, it is the longest silence in an answer that should flow.
Sign = Literal["attempt", "connection", "event", "release", "silence"]


@dataclass(frozen=True, slots=True)
class Seen:
    """One event as a client got it. `connection` counts the turn's connections."""

    entry_id: EntryId | None
    chunk: Chunk
    at: float
    connection: int

    @property
    def type(self) -> str:
        return str(self.chunk["type"])


@dataclass(slots=True)
class View:
    """What a client folds into one message: a stream from its beginning, over as many connections as it took.

    `done`: the server said [DONE] and ended the response. `cut`: the stream's beginning was lost on the way (409), so a
    new view was begun.
    """

    protocol: int
    events: list[Seen] = field(default_factory=list)
    done: bool = False
    cut: bool = False

    @property
    def cursor(self) -> str | None:
        last = next((seen.entry_id for seen in reversed(self.events) if seen.entry_id is not None), None)
        return None if last is None else f"{last[0]}-{last[1]}"


@dataclass(slots=True)
class Turn:
    """One question, and all that its client saw of the answer."""

    question: Question
    client: str
    message_id: str
    session_id: str = ""
    task_id: str | None = None
    asked_at: float = field(default_factory=time.monotonic)
    accepted_at: float | None = None
    ended_at: float | None = None
    views: list[View] = field(default_factory=list)
    opened: list[tuple[float, int]] = field(default_factory=list)  # connections: when, and to which gateway
    # What the page had from the session's history instead, where the stream was gone or never seen to its end.
    history: str | None = None
    # Task ids that the gateways gave for this one message.
    named: set[str] = field(default_factory=set)
    # What a client must never be answered, and where it gave up.
    problems: list[str] = field(default_factory=list)

    @property
    def accepted(self) -> bool:
        return self.accepted_at is not None

    @property
    def open(self) -> bool:
        return self.accepted and self.ended_at is None

    def accept(self, task_id: str) -> None:
        self.task_id = task_id
        self.named.add(task_id)
        if self.accepted_at is None:
            self.accepted_at = time.monotonic()

    def view(self, protocol: int) -> View:
        """A new one."""
        self.views.append(View(protocol))
        return self.views[-1]


@dataclass(frozen=True, slots=True)
class Fault:
    """`touched`: the ids of the tasks that it is to have touched. `promised`: the longest wait, where one is."""

    what: str
    at: float
    sign: Sign
    touched: frozenset[str]
    promised_seconds: float | None = None


@dataclass(slots=True)
class Ledger:
    turns: list[Turn] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    # Sessions and turns that Postgres lost, where losing them is the fault: nobody is promised an answer.
    forgotten: set[str] = field(default_factory=set)

    def forgot(self, turn: Turn) -> bool:
        return turn.session_id in self.forgotten or not turn.named.isdisjoint(self.forgotten)

    @property
    def open_turns(self) -> list[Turn]:
        return [turn for turn in self.turns if turn.open]

    def fault(self, what: str, sign: Sign, touched: frozenset[str], promised_seconds: float | None = None) -> None:
        self.faults.append(Fault(what, time.monotonic(), sign, touched, promised_seconds))
