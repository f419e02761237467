"""What a flood of one user, or of one organisation's many people, costs the others, through the real services.

    python -m bench.fairness [--quick] [--disk] [user] [organisation]

Medians of three (`--quick`: of one), as a table. Nothing else should run on the machine meanwhile.
"""

from bench.fairness.flood import FLOOD, OTHERS, PEOPLE, SLOTS, Waits, organisation, user
from bench.reporting import main, row
from bench.worker.stage import Stage


async def of_user(stage: Stage, runs: int, quick: bool) -> None:
    waits = await user(stage, runs)
    _rows(waits, f"{OTHERS} people with a turn each", f"{FLOOD} turns of one user")
    row("  the user of the flood himself, all of his turns, s", (one.flood_seconds for one in waits), "{:.1f}")


async def of_organisation(stage: Stage, runs: int, quick: bool) -> None:
    waits = await organisation(stage, runs)
    _rows(waits, f"{OTHERS} people of as many organisations", f"{FLOOD} turns of {PEOPLE} people of one")
    row("  the organisation of the flood, all of its turns, s", (one.flood_seconds for one in waits), "{:.1f}")


def _rows(waits: list[Waits], others: str, flood: str) -> None:
    row(f"{others}, {SLOTS} slots: wait for a worker, p95, s", (one.alone_p95 for one in waits), "{:.2f}")
    row(f"  the same, behind {flood}", (one.flooded_p95 for one in waits), "{:.2f}")
    row("  times as long", (one.flooded_p95 / one.alone_p95 for one in waits), "{:.2f}", "<= 1.5")


if __name__ == "__main__":
    main("bench.fairness", {"user": of_user, "organisation": of_organisation}, runs=3)
