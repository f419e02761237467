"""What the routes for operators answer."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field
from sluiceway.store.records import OperationStatus
from sluiceway.wire.task import Status

from gateway.api.models.wire import Asked, Wire

WaitsFor = Literal["a person", "the client", "a tool runner", "its tool", "an outside service"]


class ConsumerView(Wire):
    """`idle_seconds`: since it last asked for, or renewed, an entry."""

    name: str
    in_flight: int
    idle_seconds: float


class QueueView(Wire):
    """`waiting`: entries that no worker has, the oldest for `waiting_seconds`; `in_lanes` of them wait behind
    another one of their user or organisation. `in_flight`: entries that a worker has."""

    kind: str
    waiting: int
    waiting_seconds: float | None
    in_flight: int
    in_flight_seconds: float | None
    dead_letters: int
    consumers: list[ConsumerView]
    in_lanes: int = 0


class QueueList(Wire):
    queues: list[QueueView]
    chat_workers_ready: int


class LiveTurnView(Wire):
    """`holder`: the worker that has it in flight, `holder_idle_seconds` ago heard of. `shown`: events of its stream."""

    task_id: str
    session_id: str
    user_id: str | None
    status: Status
    phase: str
    attempt: int
    age_seconds: float
    holder: str | None
    holder_idle_seconds: float | None
    shown: int
    model: str | None
    cancel_requested: bool


class LiveTurnList(Wire):
    """The oldest first."""

    turns: list[LiveTurnView]


class OpenOperationView(Wire):
    operation_id: str
    task_id: str
    user_id: str | None
    tool_name: str
    queue: str
    status: OperationStatus
    waits_for: WaitsFor
    runner: str | None
    runner_idle_seconds: float | None = Field(
        default=None, description="since its runner last renewed its lease; null: nobody has it in flight"
    )
    attempt: int
    age_seconds: float
    deadline_seconds: float = Field(description="until it fails; below 0: it should have")


class OpenOperationList(Wire):
    """The oldest first."""

    operations: list[OpenOperationView]


class ProcessView(Wire):
    """`lacks`: what it is not ready for; empty: it is."""

    component: str
    name: str
    version: str
    lacks: str


class ProcessList(Wire):
    """All, the gateway that answers among them. `silent`: who holds a place at a queue and does not speak, frozen or
    dead, and for how many seconds; empty also where the queues cannot be seen."""

    processes: list[ProcessView]
    silent: dict[str, float] = Field(default_factory=dict)


class DeadLetterView(Wire):
    id: str
    queue: str
    task_id: str | None
    reason: str
    deliveries: int
    created_at: datetime


class DeadLetterPage(Wire):
    """Newest first. `next_cursor` is null on the last page."""

    dead_letters: list[DeadLetterView]
    next_cursor: str | None


class DeadLetterDetail(DeadLetterView):
    """`body`: what the entry said, as text. It may have words of a user."""

    entry_id: str
    body: str


class ReplayedLetter(Wire):
    """`task_id`: the turn that continues, or the new one."""

    task_id: str | None
    detail: str


class PurgedLetters(Wire):
    removed: int


class Explanation(Wire):
    """Why a turn has not ended, or how it has; and what that stands on."""

    task_id: str
    sentence: str
    evidence: list[str]


class RequeuedTurn(Wire):
    task_id: str
    detail: str


class UseView(Wire):
    """`name`: null for those that have no owner. `tokens`: of turns that have ended. `cost`: in USD, of all model calls
    but the `unpriced`, whose price is not known (MODEL_PRICES)."""

    name: str | None
    turns: int
    live: int
    tokens: int
    cost: float = 0
    unpriced: int = 0


class Top(Wire):
    """Who began most turns within the last `minutes`."""

    minutes: int
    users: list[UseView]
    sessions: list[UseView]


# Median and 95th percentile. (Readers of the document take a fixed sequence of types for an older draft's.)
Percentiles = Annotated[list[float], Field(min_length=2, max_length=2)]


class Load(Wire):
    """Turns that were accepted within the last `minutes`. Seconds are (median, 95th percentile): from the acceptance to
    a worker, and to the end. `sentence`: what is short."""

    minutes: int
    sentence: str
    accepted: int
    ended: dict[str, int]
    errors: dict[str, int]
    tokens: int
    queued_seconds: Percentiles | None
    turn_seconds: Percentiles | None


class FindingView(Wire):
    name: str
    ok: bool
    detail: str


class Examination(Wire):
    ok: bool
    findings: list[FindingView]


class DrainedWorker(Wire):
    worker: str
    detail: str


class TurnEvent(Wire):
    """Events of the same type in a row. `bytes`: of their JSON. `detail`: a code, a state or a tool's name."""

    first_id: str
    last_id: str
    type: str
    count: int
    bytes: int
    detail: str


class TurnEvents(Wire):
    """`last_id`: where to continue. `whole`: the turn has ended, and there is no more."""

    task_id: str
    status: str
    events: list[TurnEvent]
    last_id: str
    whole: bool


class EditedLetter(Asked):
    """What it is to say instead: a job of its queue."""

    body: dict[str, Any]
