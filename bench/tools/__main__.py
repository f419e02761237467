"""The benchmarks of tool calls, through the real services.

    python -m bench.tools [--quick] [--disk] [round-trip] [waiting]

Medians of three (`--quick`: of one, and shorter), as a table. Nothing else should run on the machine meanwhile: all
services, the model, Valkey, Postgres and the clients share its cores. `--disk`: Postgres on the disk, not in memory; it
flushes every commit in both.
"""

from collections.abc import Iterable, Mapping
from statistics import median

from bench.reporting import Report, main, row
from bench.tools import round_trip, waiting
from bench.tools.cast import SERVICES, cast
from bench.worker.stage import Stage


async def report_round_trip(stage: Stage, runs: int, quick: bool) -> None:
    turns = 3 if quick else 8
    async with stage.model() as model:
        async with cast(stage, slots=2 * round_trip.CLIENTS) as services:
            paced = [await round_trip.measure(services, model, turns) for _ in range(runs)]
            at_once = [await round_trip.measure_at_once(services, model) for _ in range(runs)]
        baseline = [await round_trip.measure_baseline(stage, model, turns) for _ in range(runs)]
    calls, costs = [one for one, _ in paced], [cost for _, cost in paced]
    what = f"a quick tool call beyond model and tool, {round_trip.CLIENTS} concurrent turns"
    row(f"{what}: p50, ms", (one.p50_ms for one in calls), "{:.1f}", "<= 25")
    row(f"{what}: p99, ms", (one.p99_ms for one in calls), "{:.1f}")
    row("  from the model's last byte to the tool, p50, ms", (one.to_tool_p50_ms for one in calls), "{:.1f}")
    row("  from the tool to the next request, p50, ms", (one.from_tool_p50_ms for one in calls), "{:.1f}")
    row("  all calls at the same moment: p50, ms", (one.p50_ms for one in at_once), "{:.1f}")
    row("  all calls at the same moment: p99, ms", (one.p99_ms for one in at_once), "{:.1f}")
    row("baseline, all in one process, nothing stored: p50, ms", (one.p50_ms for one in baseline), "{:.2f}")
    row("  the first as a multiple of it", [_median_p50(calls) / _median_p50(baseline)], "{:.1f}")
    for name in SERVICES:
        row(f"  CPU of {name} for a turn with a call, ms", (cost.cpu_ms[name] for cost in costs), "{:.1f}")
        row("    round trips to Redis", (cost.redis[name] for cost in costs), "{:.1f}")
        row("    round trips to Postgres", (cost.postgres[name] for cost in costs), "{:.1f}")


async def report_waiting(stage: Stage, runs: int, quick: bool) -> None:
    baseline = await waiting.measure_baseline(stage)
    async with stage.model() as model:
        waited = [await waiting.measure(stage, model) for _ in range(runs)]
    for name in SERVICES:
        added = [one.added[name] for one in waited]
        what = f"{name}, added by {waiting.OPERATIONS:,} operations that wait for webhooks"
        row(f"{what}: bytes for each", (one.bytes / waiting.OPERATIONS for one in added), "{:.0f}", "none")
        row("  Python's blocks of memory for each", (one.blocks / waiting.OPERATIONS for one in added), "{:.2f}")
        row("  tasks of the event loop, in all", (one.tasks for one in added), "{:.0f}", "0")
        row("  open files and connections, in all", (one.files for one in added), "{:.0f}", "0")
    row("Redis, bytes for each, its turn's stream included", (one.redis_bytes for one in waited), "{:,.0f}")
    row("baseline, a coroutine and a connection for each: bytes", [baseline.bytes / waiting.OPERATIONS], "{:,.0f}")
    row("  open files and connections, in all", [baseline.files], "{:,.0f}")
    what = f"{waiting.OPERATIONS:,} webhooks, until the last turn has ended"
    row(f"{what}: s", (one.seconds for one in waited), "{:.1f}")
    row("  lost: results, answers, steps", [sum(one.lost for one in waited)], "{:.0f}", "0")
    row("  doubled: the same", [sum(one.doubled for one in waited)], "{:.0f}", "0")


def _median_p50(calls: Iterable[round_trip.Calls]) -> float:
    return median(one.p50_ms for one in calls)


REPORTS: Mapping[str, Report] = {
    "round-trip": report_round_trip,
    "waiting": report_waiting,
}


if __name__ == "__main__":
    main("bench.tools", REPORTS, runs=3)
