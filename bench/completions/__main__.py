"""The completion consumer's benchmark, through the real service.

    python -m bench.completions [--quick]

Medians of three (`--quick`: of one), as a table: Postgres in memory, and on the disk. It flushes every commit in both.
Nothing else should run on the machine meanwhile: consumer, Valkey, Postgres and the one who looks share its cores.
"""

import argparse
import asyncio
from statistics import median

from bench.completions.load import DELIVERIES, OPERATIONS, Load, measure
from bench.fanout.machine import describe
from bench.worker.stage import Stage

_ROW = "{:<78} {:>10}  {}"


def _report(loads: list[Load], where: str) -> None:
    what = f"one consumer, {OPERATIONS:,} operations, each completed {DELIVERIES} times, Postgres {where}"
    rate = median(load.completions_per_second for load in loads)
    print(_ROW.format(f"{what}: operations/s", f"{rate:,.0f}", ">= 300"))
    print(_ROW.format("  lost: results, outputs shown, next steps", sum(load.lost for load in loads), "0"))
    print(_ROW.format("  doubled: the same", sum(load.doubled for load in loads), "0"), flush=True)


async def run(quick: bool) -> None:
    runs = 1 if quick else 3
    for where, on_disk in (("in memory", False), ("on the disk", True)):
        async with Stage.open(on_disk) as stage:
            if not on_disk:
                print(f"{describe(stage.valkey.url)}; medians of {runs}\n")
                print(_ROW.format("", "measured", "target"))
            _report(await measure(stage, runs), where)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.completions", description="the consumer's benchmark")
    parser.add_argument("--quick", action="store_true", help="one run instead of three")
    asyncio.run(run(parser.parse_args().quick))


if __name__ == "__main__":
    main()
