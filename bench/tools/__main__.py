"""The benchmarks of tool calls, through the real services.

    python -m bench.tools [--quick] [--disk] [round-trip] [waiting]

Medians of three (`--quick`: of one, and shorter), as a table. Nothing else should run on the machine meanwhile: all
services, the model, Valkey, Postgres and the clients share its cores. `--disk`: Postgres on the disk, not in memory; it
flushes every commit in both.
"""

import argparse
import asyncio
import resource
from collections.abc import Awaitable, Callable, Iterable
from statistics import median

from bench.fanout.machine import describe
from bench.tools import round_trip, waiting
from bench.tools.cast import SERVICES, cast
from bench.worker.stage import Stage

_ROW = "{:<78} {:>10}  {}"


async def report_round_trip(stage: Stage, runs: int, quick: bool) -> None:
    turns = 3 if quick else 8
    async with stage.model() as model:
        async with cast(stage, slots=2 * round_trip.CLIENTS) as services:
            paced = [await round_trip.measure(services, model, turns) for _ in range(runs)]
            at_once = [await round_trip.measure_at_once(services, model) for _ in range(runs)]
        baseline = [await round_trip.measure_baseline(stage, model, turns) for _ in range(runs)]
    calls, costs = [one for one, _ in paced], [cost for _, cost in paced]
    what = f"a quick tool call beyond model and tool, {round_trip.CLIENTS} concurrent turns"
    _print(f"{what}: p50, ms", (one.p50_ms for one in calls), "{:.1f}", "<= 25")
    _print(f"{what}: p99, ms", (one.p99_ms for one in calls), "{:.1f}")
    _print("  from the model's last byte to the tool, p50, ms", (one.to_tool_p50_ms for one in calls), "{:.1f}")
    _print("  from the tool to the next request, p50, ms", (one.from_tool_p50_ms for one in calls), "{:.1f}")
    _print("  all calls at the same moment: p50, ms", (one.p50_ms for one in at_once), "{:.1f}")
    _print("  all calls at the same moment: p99, ms", (one.p99_ms for one in at_once), "{:.1f}")
    _print("baseline, all in one process, nothing stored: p50, ms", (one.p50_ms for one in baseline), "{:.2f}")
    _print("  the first as a multiple of it", [_median_p50(calls) / _median_p50(baseline)], "{:.1f}")
    for name in SERVICES:
        _print(f"  CPU of {name} for a turn with a call, ms", (cost.cpu_ms[name] for cost in costs), "{:.1f}")
        _print("    round trips to Redis", (cost.redis[name] for cost in costs), "{:.1f}")
        _print("    round trips to Postgres", (cost.postgres[name] for cost in costs), "{:.1f}")


async def report_waiting(stage: Stage, runs: int, quick: bool) -> None:
    baseline = await waiting.measure_baseline(stage)
    async with stage.model() as model:
        waited = [await waiting.measure(stage, model) for _ in range(runs)]
    for name in SERVICES:
        added = [one.added[name] for one in waited]
        what = f"{name}, added by {waiting.OPERATIONS:,} operations that wait for webhooks"
        _print(f"{what}: bytes for each", (one.bytes / waiting.OPERATIONS for one in added), "{:.0f}", "none")
        _print("  Python's blocks of memory for each", (one.blocks / waiting.OPERATIONS for one in added), "{:.2f}")
        _print("  tasks of the event loop, in all", (one.tasks for one in added), "{:.0f}", "0")
        _print("  open files and connections, in all", (one.files for one in added), "{:.0f}", "0")
    _print("Redis, bytes for each, its turn's stream included", (one.redis_bytes for one in waited), "{:,.0f}")
    _print("baseline, a coroutine and a connection for each: bytes", [baseline.bytes / waiting.OPERATIONS], "{:,.0f}")
    _print("  open files and connections, in all", [baseline.files], "{:,.0f}")
    what = f"{waiting.OPERATIONS:,} webhooks, until the last turn has ended"
    _print(f"{what}: s", (one.seconds for one in waited), "{:.1f}")
    _print("  lost: results, answers, steps", [sum(one.lost for one in waited)], "{:.0f}", "0")
    _print("  doubled: the same", [sum(one.doubled for one in waited)], "{:.0f}", "0")


def _median_p50(calls: Iterable[round_trip.Calls]) -> float:
    return median(one.p50_ms for one in calls)


REPORTS: dict[str, Callable[[Stage, int, bool], Awaitable[None]]] = {
    "round-trip": report_round_trip,
    "waiting": report_waiting,
}


def _print(label: str, values: Iterable[float], form: str, target: str = "") -> None:
    print(_ROW.format(label, form.format(median(values)), target), flush=True)


async def run(chosen: list[str], quick: bool, on_disk: bool) -> None:
    runs = 1 if quick else 3
    for name in chosen:
        async with Stage.open(on_disk) as stage:
            if name == chosen[0]:
                print(f"{describe(stage.valkey.url)}; medians of {runs}\n")
                print(_ROW.format("", "measured", "target"))
            await REPORTS[name](stage, runs, quick)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.tools", description="the benchmarks of tool calls")
    parser.add_argument("--quick", action="store_true", help="one short run of each measurement instead of three")
    parser.add_argument("--disk", action="store_true", help="Postgres on the disk instead of in memory")
    parser.add_argument("which", nargs="*", help=f"of {', '.join(REPORTS)}; all of them by default")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.which if name not in REPORTS]:
        parser.error(f"unknown: {', '.join(unknown)}")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(run(arguments.which or list(REPORTS), arguments.quick, arguments.disk))


if __name__ == "__main__":
    main()
