"""What the way from a model's tool call to its next step costs, beyond model and tool.

Twenty clients each begin a turn, read it to its end, and begin the next, so that twenty turns run at any moment. Each
turn has two steps, of words as fast as a model says them; the first one ends with a call of a tool that does nothing.
What is measured is the time from the model server's last byte of the first step to its receipt of the second request,
less the time that the tool ran. The baseline is `naive_loop.py`, under the same load.

Round trips, one after the other, on the way of one call: seven to Redis (R), four to Postgres with a commit (P), one
to read there. An arrow is a blocked XREADGROUP that is answered; nothing on the way polls or sleeps.
    chat worker    R  the last chunks of the step
                   P  the step, its operations and the turn's status, in one statement
                   R  the turn waits, and the operations are queued
    → tool runner  R  the operation is this runner's
                   P  it is begun
                   R  its completion is queued
    → consumer     P  the operation's result, in the message too, and the turn's status, in one statement
                   R  the output is shown, and the next step is queued
    → chat worker  R  nobody else holds the turn
                   P  it is this worker's
                   P  history, message and operations, side by side; R meanwhile, twice: the stream is this worker's,
                      and what it has
Beside the way: notes where queue entries are, acknowledgements, the release of the operation.
"""

import asyncio
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from bench.tools.cast import SERVICES, Cast
from bench.tools.observed import RoundTrips
from bench.tools.watching import watched
from bench.worker.stage import Stage
from harness.clients.calling import call
from harness.clients.chat import Chat
from harness.model_server import ModelServer
from harness.model_server.record import Record
from harness.waiting import wait_until

CLIENTS = 20
TOKENS, RATE = 30, 30
_WARM_UP_TURNS = 1
_GATE = "the calls"


@dataclass(frozen=True)
class Calls:
    """Milliseconds beyond model and tool: of all of it, and at the median of its two halves."""

    p50_ms: float
    p99_ms: float
    to_tool_p50_ms: float
    from_tool_p50_ms: float


@dataclass(frozen=True)
class Cost:
    """Of one turn with a call, by service: its beginning and its end included, and what goes on beside."""

    cpu_ms: dict[str, float]
    redis: dict[str, float]
    postgres: dict[str, float]


async def measure(cast: Cast, model: ModelServer, turns: int) -> tuple[Calls, Cost]:
    """Twenty turns at any moment, out of step with each other."""
    texts = _texts("paced", _WARM_UP_TURNS + turns)
    await _script(model, texts, [{"tokens": TOKENS, "rate": RATE}])
    sessions = await _open_sessions(cast.url)
    processes = {name: psutil.Process(cast.stage.pid(name)) for name in SERVICES}
    cpu, round_trips = _cpu_ms(processes), cast.round_trips()
    await asyncio.gather(*(_client(cast.url, *each) for each in zip(sessions, texts, _starts(), strict=True)))
    cost = _cost(cpu, _cpu_ms(processes), round_trips, cast.round_trips(), sum(map(len, texts)))
    return _calls(await model.requests("paced"), _measured(texts)), cost


async def measure_at_once(cast: Cast, model: ModelServer) -> Calls:
    """Twenty turns whose calls the model makes at the same moment."""
    texts = _texts("at once", 1)
    await _script(model, texts, [{"text": "Wait."}, {"gate": _GATE}])
    sessions = await _open_sessions(cast.url)
    clients = asyncio.gather(*(_client(cast.url, *each, 0) for each in zip(sessions, texts, strict=True)))
    await wait_until(lambda: _all_began(model), 30, "the model was asked for every turn")
    await model.open_gate(_GATE)
    await clients
    return _calls(await model.requests("at once"), [text for of_client in texts for text in of_client])


async def measure_baseline(stage: Stage, model: ModelServer, turns: int) -> Calls:
    texts = _texts("baseline", _WARM_UP_TURNS + turns)
    await _script(model, texts, [{"tokens": TOKENS, "rate": RATE}])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.tools.naive_loop", stage.model_url, str(_starts()[1])),
        stdin=asyncio.subprocess.PIPE,
    )
    await process.communicate(json.dumps(texts).encode() + b"\n")
    if process.returncode:
        raise RuntimeError("the baseline failed")
    return _calls(await model.requests("baseline"), _measured(texts))


# The load


def _texts(what: str, turns: int) -> list[list[str]]:
    """For each client the messages that it sends; none is part of another."""
    return [[f"{what} {number:02} {turn:02}." for turn in range(turns)] for number in range(CLIENTS)]


def _measured(texts: Sequence[Sequence[str]]) -> list[str]:
    """The first turns only bring the others out of step, and fill caches."""
    return [text for of_client in texts for text in of_client[_WARM_UP_TURNS:]]


def _starts() -> list[float]:
    return [number / CLIENTS * 2 * TOKENS / RATE for number in range(CLIENTS)]


async def _script(model: ModelServer, texts: Sequence[Sequence[str]], words: list[dict[str, Any]]) -> None:
    await model.reset()
    for text in (text for of_client in texts for text in of_client):
        await model.script(*words, call("no_op", "call-1"), {"finish": "tool_calls"}, match=text)
        await model.script({"tokens": TOKENS, "rate": RATE}, match=text)


async def _open_sessions(url: str) -> list[str]:
    async with Chat(url) as chat:
        return [await chat.open_session() for _ in range(CLIENTS)]


async def _client(url: str, session_id: str, texts: Sequence[str], start_seconds: float) -> None:
    await asyncio.sleep(start_seconds)
    for text in texts:
        await watched(url, session_id, text)


async def _all_began(model: ModelServer) -> bool:
    return sum(record.first_token_at is not None for record in await model.requests("at once")) >= CLIENTS


# What came of it


def _calls(records: Iterable[Record], texts: Iterable[str]) -> Calls:
    steps: dict[str, list[Record]] = {}
    for record in records:
        steps.setdefault(_asked(record), []).append(record)
    to_tool, from_tool, totals = [], [], []
    for text in texts:
        first, second = steps[text]
        assert first.finished_at is not None
        tool = json.loads(second.body["messages"][-1]["content"])
        to_tool.append(tool["began_at"] - first.finished_at)
        from_tool.append(second.began_at - tool["ended_at"])
        totals.append(to_tool[-1] + from_tool[-1])
    return Calls(
        p50_ms=1000 * _share(totals, 0.5),
        p99_ms=1000 * _share(totals, 0.99),
        to_tool_p50_ms=1000 * _share(to_tool, 0.5),
        from_tool_p50_ms=1000 * _share(from_tool, 0.5),
    )


def _cost(
    cpu: dict[str, float],
    cpu_after: dict[str, float],
    trips: dict[str, RoundTrips],
    trips_after: dict[str, RoundTrips],
    turns: int,
) -> Cost:
    made = {name: trips_after[name] - trips[name] for name in SERVICES}
    return Cost(
        cpu_ms={name: (cpu_after[name] - cpu[name]) / turns for name in SERVICES},
        redis={name: made[name].redis / turns for name in SERVICES},
        postgres={name: made[name].postgres / turns for name in SERVICES},
    )


def _asked(record: Record) -> str:
    """The message that the turn answers."""
    return next(str(one["content"]) for one in reversed(record.body["messages"]) if one["role"] == "user")


def _share(values: list[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def _cpu_ms(processes: dict[str, psutil.Process]) -> dict[str, float]:
    times = {name: process.cpu_times() for name, process in processes.items()}
    return {name: 1000 * (one.user + one.system) for name, one in times.items()}
