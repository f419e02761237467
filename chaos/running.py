"""One scenario, from its first question to what must be said of it."""

import asyncio
import contextlib
import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from chaos.burden import Burden
from chaos.client import Client
from chaos.faults import Faults, Pace
from chaos.ledger import Ledger, Turn, View
from chaos.load import Load, http_client
from chaos.recovery import waits
from chaos.scenarios import Scenario
from chaos.stack import Stack
from chaos.stored import Stored, read_stored
from chaos.verdict import COLUMNS, Column, Judgement, judge

_REPLAYS_AT_ONCE = 8
# A turn that was lost has a stream that is still open.
_REPLAY_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Form:
    """How long a run is. `limit_seconds`: of one client; after it its turn is lost."""

    turns: int
    at_once: int
    pace: Pace
    limit_seconds: float = 120


@dataclass(slots=True)
class Outcome:
    """What came of a scenario. `complaints`: what was wrong with processes, or with the run itself. `burden`: where
    there were strangers."""

    name: str
    accepted: int = 0
    answered: int = 0
    without_tools: int = 0
    columns: Counter[Column] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    wall_seconds: float = 0.0
    failures: list[Judgement] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    burden: Burden | None = None

    @property
    def clean(self) -> bool:
        return not self.failures and not self.complaints and self.accepted > 0

    @property
    def worst(self) -> float | None:
        return max(self.recoveries, default=None)

    @property
    def median(self) -> float | None:
        return statistics.median(self.recoveries) if self.recoveries else None


async def run(stack: Stack, scenario: Scenario, seed: int, form: Form) -> Outcome:
    """The stack runs, and runs again afterwards, whatever happened."""
    began = time.monotonic()
    ledger = Ledger()
    outcome = Outcome(scenario.name)
    faults = Faults(stack, ledger, random.Random(f"{seed}/{scenario.name}"), form.pace)
    await _under_load(stack, scenario, seed, form, faults)
    await _judge(stack, ledger, outcome)
    waited = waits(ledger)
    outcome.recoveries = [wait.seconds for wait in waited]
    outcome.complaints += [str(wait) for wait in waited if wait.too_long]
    outcome.burden = faults.burden
    outcome.faults = Counter(fault.what for fault in ledger.faults)
    outcome.complaints += [*faults.complaints, *stack.new_complaints()]
    outcome.wall_seconds = time.monotonic() - began
    return outcome


async def _under_load(stack: Stack, scenario: Scenario, seed: int, form: Form, faults: Faults) -> None:
    over = asyncio.Event()
    load = Load(
        stack.gateways,
        faults.ledger,
        scenario.name,
        seed,
        scenario.kinds,
        scenario.clients,
        form.at_once,
        form.limit_seconds,
        stack.web_url,
    )
    loading = asyncio.create_task(load.run(form.turns, over), name="load")
    try:
        await scenario.program(faults)
    except Exception as error:  # noqa: BLE001 - the clients may still end, and what they saw is worth judging
        faults.complaints.append(f"the scenario broke off: {error!r}")
    await faults.mend()
    over.set()
    await loading


async def _judge(stack: Stack, ledger: Ledger, outcome: Outcome) -> None:
    turns = [turn for turn in ledger.turns if not ledger.forgot(turn)]
    outcome.complaints += [
        f"the client of a turn that Postgres lost, {turn.task_id}, waits for its end: {turn.problems}"
        for turn in ledger.turns
        if ledger.forgot(turn) and any(problem.startswith("no end") for problem in turn.problems)
    ]
    sessions = {turn.session_id for turn in turns if turn.session_id}
    stored = await read_stored(stack.database_url, sessions, stack.tally())
    places = asyncio.Semaphore(_REPLAYS_AT_ONCE)
    async with http_client() as http:
        replays = await asyncio.gather(*(_replays(turn, stack, http, places) for turn in turns))
    judge_all(outcome, turns, stored, replays)


def judge_all(outcome: Outcome, turns: Sequence[Turn], stored: Stored, replays: Sequence[Sequence[View]]) -> None:
    """Count what became of the turns. `replays`: of each turn, its streams read again from the beginning."""
    for turn, views in zip(turns, replays, strict=True):
        judgement = judge(turn, stored, views)
        outcome.accepted += turn.accepted
        outcome.answered += judgement.answered
        outcome.without_tools += judgement.without_tools
        outcome.columns.update(column for column in COLUMNS if column in judgement.columns)
        if judgement.findings:
            outcome.failures.append(judgement)


async def _replays(turn: Turn, stack: Stack, http: httpx.AsyncClient, places: asyncio.Semaphore) -> list[View]:
    """Its stream from the beginning, as clients of both versions get it who come now."""
    if turn.task_id is None:
        return []
    return [view for version in (6, 7) if (view := await _replay(turn, stack, http, places, version)) is not None]


async def _replay(
    turn: Turn, stack: Stack, http: httpx.AsyncClient, places: asyncio.Semaphore, version: int
) -> View | None:
    """None: the stream is gone, as after a flush, and who asks for it is told so."""
    again = Turn(turn.question, "replay", turn.message_id, turn.session_id, turn.task_id)
    reader = Client(http, stack.gateways, again, random.Random(f"{turn.task_id}"))
    view = again.view(version)
    end = "no end in time"
    async with places:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_REPLAY_SECONDS):
                end = await reader.read("GET", f"/api/chat/tasks/{turn.task_id}/stream?protocol={version}", view)
    if end == "expired":
        return None
    if end != "done":
        turn.problems.append(f"a replay ended with {end!r} after {len(view.events)} events")
    return view
