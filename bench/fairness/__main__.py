"""What a flood of one user costs the others, through the real services.

    python -m bench.fairness [--quick] [--disk]

Medians of three (`--quick`: of one), as a table. Nothing else should run on the machine meanwhile.
"""

from bench.fairness.flood import FLOOD, OTHERS, SLOTS, measure
from bench.reporting import main, row
from bench.worker.stage import Stage


async def report(stage: Stage, runs: int, quick: bool) -> None:
    waits = await measure(stage, runs)
    what = f"{OTHERS} people with a turn each, {SLOTS} slots: wait for a worker, p95, s"
    row(what, (one.alone_p95 for one in waits), "{:.2f}")
    row(f"  the same, behind {FLOOD} turns of one user", (one.flooded_p95 for one in waits), "{:.2f}")
    row("  times as long", (one.flooded_p95 / one.alone_p95 for one in waits), "{:.2f}", "<= 1.5")
    row("  the user of the flood himself, all of his turns, s", (one.flood_seconds for one in waits), "{:.1f}")


if __name__ == "__main__":
    main("bench.fairness", {"fairness": report}, runs=3)
