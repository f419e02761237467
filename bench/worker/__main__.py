"""The worker's benchmarks, through the real services.

    python -m bench.worker [--quick] [--disk] [first-token] [streams] [active-task] [history] [decoding]

Medians of five (`--quick`: of one, and shorter), as a table. Nothing else should run on the machine meanwhile: model,
Valkey, Postgres, gateway, worker and the clients share its cores. `--disk`: Postgres on the disk, not in memory.
"""

from collections.abc import Mapping

from bench.reporting import Report, main, row
from bench.worker import active_task, decoding, first_token, history, streams
from bench.worker.stage import Stage


async def report_first_token(stage: Stage, runs: int, quick: bool) -> None:
    overheads = await first_token.measure(stage, turns=2 if quick else 5, runs=runs)
    what = f"overhead on the first token, {first_token.CLIENTS} concurrent turns"
    row(f"{what}, p50, ms", (one.p50_ms for one in overheads), "{:.1f}", "<= 10")
    row(f"{what}, p99, ms", (one.p99_ms for one in overheads), "{:.1f}", "<= 40")
    row("  from the POST to the model server, p50, ms", (one.to_model_p50_ms for one in overheads), "{:.1f}")
    row("  from the model server to the client, p50, ms", (one.from_model_p50_ms for one in overheads), "{:.1f}")


async def report_streams(stage: Stage, runs: int, quick: bool) -> None:
    loads = await streams.measure(stage, seconds=3 if quick else 6, runs=runs)
    what = f"one worker, {streams.STREAMS} streams x {streams.RATE} tokens/s"
    row(f"{what}: model to Redis, p50, ms", (load.p50_ms for load in loads), "{:.1f}")
    row(f"{what}: model to Redis, p99, ms", (load.p99_ms for load in loads), "{:.1f}", "<= 50")
    row("  the latest of all, ms", (load.max_ms for load in loads), "{:.1f}")
    row("  tokens/s", (load.tokens_per_second for load in loads), "{:,.0f}", f"{streams.STREAMS * streams.RATE:,}")
    row("  entries/s in Redis (adjacent tokens merge)", (load.entries_per_second for load in loads), "{:,.0f}")
    row("  round trips/s of the worker", (load.round_trips_per_second for load in loads), "{:.0f}", "< 250")
    for name in loads[0].cpu:
        row(f"  CPU of {name}, cores", (load.cpu[name] for load in loads), "{:.2f}")


async def report_active_task(stage: Stage, runs: int, quick: bool) -> None:
    looks = await active_task.measure(stage, runs)
    for size, which in ((active_task.FEW, 0), (active_task.MANY, 1)):
        what = f"among {size:,} tasks"
        row(f"active task of a session, {what}, us", (pair[which].running_us for pair in looks), "{:.0f}", "the same")
        idle = (pair[which].idle_http_us for pair in looks)
        row(f"  GET stream of a session that has none (204), {what}, us", idle, "{:.0f}", "the same")


async def report_history(stage: Stage, runs: int, quick: bool) -> None:
    for messages in (history.FEW, history.MANY):
        done = [await history.measure(stage, messages, "fake-model") for _ in range(runs)]
        target = "<= 10" if messages == history.MANY else ""
        what = f"preparing the history of a session of {messages:,} messages"
        row(f"{what}, ms", (one.whole_ms for one in done), "{:.1f}", target)
        row("  of that reading it from Postgres, ms", (one.load_ms for one in done), "{:.1f}")
        row("  messages that are sent", (one.sent for one in done), "{:.0f}")


async def report_decoding(stage: Stage, runs: int, quick: bool) -> None:
    for way in decoding.WAYS:
        costs = [await decoding.measure(stage, way, seconds=1.5 if quick else 3) for _ in range(runs)]
        row(f"decoding, {way}, us of CPU a token", costs, "{:.0f}", "<= 45" if way == decoding.OURS else "")


REPORTS: Mapping[str, Report] = {
    "first-token": report_first_token,
    "streams": report_streams,
    "active-task": report_active_task,
    "history": report_history,
    "decoding": report_decoding,
}


if __name__ == "__main__":
    main("bench.worker", REPORTS, runs=5)
