"""One chat worker process under many streams at once: how late tokens are in Redis, and what it costs."""

import asyncio
import json
import struct
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from sluiceway import keys

from bench.worker.counted_worker import BYTES
from bench.worker.stage import Stage, services
from harness.clients.chat import Chat
from harness.model_server import ModelServer
from harness.waiting import wait_until

STREAMS = 300
RATE = 30
_STARTING_AT_ONCE = 10
_START_SECONDS = 60.0
_SETTLE_SECONDS = 1.0
_SPARE_SECONDS = 2.0


@dataclass(frozen=True)
class Load:
    """One window of measurement. `cpu` is in shares of one core, by process."""

    p50_ms: float
    p99_ms: float
    max_ms: float
    tokens_per_second: float
    entries_per_second: float
    round_trips_per_second: float
    cpu: dict[str, float]


async def measure(stage: Stage, seconds: float, runs: int) -> list[Load]:
    counter = stage.directory / "round-trips"
    counter.write_bytes(bytes(BYTES))
    async with services(stage, STREAMS + 20, counter) as (url, worker_pid), stage.model() as model:
        loads = []
        for _ in range(runs):
            await model.reset()
            task_ids = await _start_turns(url, model, seconds)
            loads.append(await _window(stage, worker_pid, counter, task_ids, seconds))
            await wait_until(lambda: _all(model, "finished_at"), 120, "the turns end")
        return loads


async def _start_turns(url: str, model: ModelServer, seconds: float) -> list[str]:
    """So many turns, all of them streaming, out of step with each other."""
    limit = asyncio.Semaphore(_STARTING_AT_ONCE)
    tags = f"clock tokens={int(RATE * (seconds + _SETTLE_SECONDS + _SPARE_SECONDS))} rate={RATE} gate=all stall_after=0"

    async def start(chat: Chat, number: int) -> str:
        async with limit:
            return (await chat.ask(f"[[{tags} stall_for={number / STREAMS / RATE:.4f}]]")).task_id

    async with Chat(url) as chat:
        task_ids = await asyncio.gather(*(start(chat, number) for number in range(STREAMS)))
    await wait_until(lambda: _all(model, "began_at"), _START_SECONDS, "the worker has asked the model for every turn")
    await model.open_gate("all")
    await asyncio.sleep(_SETTLE_SECONDS)
    return list(task_ids)


async def _all(model: ModelServer, field: str) -> bool:
    records = [record for record in await model.requests() if record.path.endswith("/chat/completions")]
    return sum(getattr(record, field) is not None for record in records) >= STREAMS


async def _window(stage: Stage, worker_pid: int, counter: Path, task_ids: list[str], seconds: float) -> Load:
    reader = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.worker.arrivals",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert reader.stdin is not None
    assert reader.stdout is not None
    watched = [keys.task_events(task_id) for task_id in task_ids]
    asked = {"port": stage.valkey.port, "keys": watched, "seconds": seconds}
    reader.stdin.write(json.dumps(asked).encode() + b"\n")
    await reader.stdout.readline()
    processes = {
        "worker": psutil.Process(worker_pid),
        "Valkey": psutil.Process(stage.valkey_pid),
        "model": psutil.Process(stage.model_pid),
    }
    before = {name: _cpu_seconds(process) for name, process in processes.items()}
    round_trips, began = _count(counter), time.monotonic()
    await asyncio.sleep(seconds)
    took = time.monotonic() - began
    round_trips = _count(counter) - round_trips
    cpu = {name: (_cpu_seconds(process) - before[name]) / took for name, process in processes.items()}
    seen = json.loads(await reader.stdout.readline())
    await reader.wait()
    return Load(
        p50_ms=seen["p50_ms"],
        p99_ms=seen["p99_ms"],
        max_ms=seen["max_ms"],
        tokens_per_second=seen["tokens"] / took,
        entries_per_second=seen["entries"] / took,
        round_trips_per_second=round_trips / took,
        cpu=cpu,
    )


def _count(counter: Path) -> int:
    return int(struct.unpack("Q", counter.read_bytes())[0])


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
