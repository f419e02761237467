"""What the benchmarks through the real services have in common: their arguments, their runs, their table."""

import argparse
import asyncio
import resource
from collections.abc import Awaitable, Callable, Iterable, Mapping
from statistics import median

from bench.fanout.machine import describe
from bench.worker.stage import Stage

_ROW = "{:<78} {:>10}  {}"

# Measures something so often, `quick` or not, and prints its rows.
Report = Callable[[Stage, int, bool], Awaitable[None]]


def row(label: str, values: Iterable[float], form: str, target: str = "") -> None:
    """Print the median of the values."""
    print(_ROW.format(label, form.format(median(values)), target), flush=True)


def main(program: str, reports: Mapping[str, Report], runs: int) -> None:
    """Run those of the reports that the command line names, `runs` times each; with --quick once, and shorter."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}")
    parser.add_argument("--quick", action="store_true", help=f"one short run of each measurement instead of {runs}")
    parser.add_argument("--disk", action="store_true", help="Postgres on the disk instead of in memory")
    parser.add_argument("which", nargs="*", help=f"of {', '.join(reports)}; all of them by default")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.which if name not in reports]:
        parser.error(f"unknown: {', '.join(unknown)}")
    # Clients and servers have a connection for each turn; children inherit the limit.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    chosen = [reports[name] for name in arguments.which or reports]
    asyncio.run(_run(chosen, 1 if arguments.quick else runs, arguments.quick, arguments.disk))


async def _run(chosen: list[Report], runs: int, quick: bool, on_disk: bool) -> None:
    for report in chosen:
        async with Stage.open(on_disk) as stage:
            if report is chosen[0]:
                where = "on the disk" if on_disk else "in memory"
                print(f"{describe(stage.valkey.url)}; Postgres {where}; medians of {runs}\n")
                print(_ROW.format("", "measured", "target"))
            await report(stage, runs, quick)
