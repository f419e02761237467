"""The worker's benchmarks, through the real services.

    python -m bench.worker [--quick] [--disk] [first-token] [streams] [active-task] [decoding]

Medians of five (`--quick`: of one, and shorter), as a table. Nothing else should run on the machine meanwhile: model,
Valkey, Postgres, gateway, worker and the clients share its cores. `--disk`: Postgres on the disk, not in memory.
"""

import argparse
import asyncio
import resource
from collections.abc import Awaitable, Callable, Iterable
from statistics import median

from bench.fanout.machine import describe
from bench.worker import active_task, decoding, first_token, streams
from bench.worker.stage import Stage

_ROW = "{:<66} {:>12}  {}"


async def report_first_token(stage: Stage, runs: int, quick: bool) -> None:
    overheads = await first_token.measure(stage, turns=2 if quick else 5, runs=runs)
    what = f"overhead on the first token, {first_token.CLIENTS} concurrent turns"
    _print(f"{what}, p50, ms", (one.p50_ms for one in overheads), "{:.1f}", "<= 10")
    _print(f"{what}, p99, ms", (one.p99_ms for one in overheads), "{:.1f}", "<= 40")
    _print("  from the POST to the model server, p50, ms", (one.to_model_p50_ms for one in overheads), "{:.1f}")
    _print("  from the model server to the client, p50, ms", (one.from_model_p50_ms for one in overheads), "{:.1f}")


async def report_streams(stage: Stage, runs: int, quick: bool) -> None:
    loads = await streams.measure(stage, seconds=3 if quick else 6, runs=runs)
    what = f"one worker, {streams.STREAMS} streams x {streams.RATE} tokens/s"
    _print(f"{what}: model to Redis, p50, ms", (load.p50_ms for load in loads), "{:.1f}")
    _print(f"{what}: model to Redis, p99, ms", (load.p99_ms for load in loads), "{:.1f}", "<= 50")
    _print("  the latest of all, ms", (load.max_ms for load in loads), "{:.1f}")
    _print("  tokens/s", (load.tokens_per_second for load in loads), "{:,.0f}", f"{streams.STREAMS * streams.RATE:,}")
    _print("  entries/s in Redis (adjacent tokens merge)", (load.entries_per_second for load in loads), "{:,.0f}")
    _print("  round trips/s of the worker", (load.round_trips_per_second for load in loads), "{:.0f}", "< 250")
    for name in loads[0].cpu:
        _print(f"  CPU of {name}, cores", (load.cpu[name] for load in loads), "{:.2f}")


async def report_active_task(stage: Stage, runs: int, quick: bool) -> None:
    looks = await active_task.measure(stage, runs)
    for size, which in ((active_task.FEW, 0), (active_task.MANY, 1)):
        what = f"among {size:,} tasks"
        _print(
            f"active task of a session, {what}, us", (pair[which].running_us for pair in looks), "{:.0f}", "the same"
        )
        idle = (pair[which].idle_http_us for pair in looks)
        _print(f"  GET stream of a session that has none (204), {what}, us", idle, "{:.0f}", "the same")


async def report_decoding(stage: Stage, runs: int, quick: bool) -> None:
    for way in decoding.WAYS:
        costs = [await decoding.measure(stage, way, seconds=1.5 if quick else 3) for _ in range(runs)]
        _print(f"decoding, {way}, us of CPU a token", costs, "{:.0f}", "<= 45" if way == decoding.OURS else "")


REPORTS: dict[str, Callable[[Stage, int, bool], Awaitable[None]]] = {
    "first-token": report_first_token,
    "streams": report_streams,
    "active-task": report_active_task,
    "decoding": report_decoding,
}


def _print(label: str, values: Iterable[float], form: str, target: str = "") -> None:
    print(_ROW.format(label, form.format(median(values)), target), flush=True)


async def run(chosen: list[str], quick: bool, on_disk: bool) -> None:
    runs = 1 if quick else 5
    for name in chosen:
        async with Stage.open(on_disk) as stage:
            if name == chosen[0]:
                print(f"{describe(stage.valkey.url)}; medians of {runs}\n")
                print(_ROW.format("", "measured", "target"))
            await REPORTS[name](stage, runs, quick)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.worker", description="the worker's benchmarks")
    parser.add_argument("--quick", action="store_true", help="one short run of each measurement instead of five")
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
