"""The completion consumer's benchmark, through the real service.

    python -m bench.completions [--quick] [--disk]

Medians of three (`--quick`: of one), as a table. Postgres is in memory, or on the disk, and flushes every commit in
both. Nothing else should run meanwhile: consumer, Valkey, Postgres and the one who looks share the machine's cores.
"""

from bench.completions.load import DELIVERIES, OPERATIONS, measure
from bench.reporting import main, row
from bench.worker.stage import Stage


async def report(stage: Stage, runs: int, quick: bool) -> None:
    loads = await measure(stage, runs)
    what = f"one consumer, {OPERATIONS:,} operations, each completed {DELIVERIES} times"
    row(f"{what}: operations/s", (load.completions_per_second for load in loads), "{:,.0f}", ">= 300")
    row("  the slowest run", [min(load.completions_per_second for load in loads)], "{:,.0f}")
    row("  lost: results, outputs shown, next steps", [sum(load.lost for load in loads)], "{:.0f}", "0")
    row("  doubled: the same", [sum(load.doubled for load in loads)], "{:.0f}", "0")


if __name__ == "__main__":
    main("bench.completions", {"completions": report}, runs=3)
