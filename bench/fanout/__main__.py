"""The fan-out benchmark: the real gateway beside the usual design, in one run.

    python -m bench.fanout [--quick]

Medians of five (`--quick`: of one), as tables. Nothing else should run on the machine meanwhile: gateway, Valkey,
publisher and clients share its cores, as they do here for both designs.
"""

import argparse
import resource
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median

from bench.fanout.load import Load
from bench.fanout.machine import describe
from bench.fanout.measures import P99_MS, REPLAYED, SUBSCRIBERS, TURN, Bench
from bench.fanout.stage import Server, Stage

Start = Callable[[], AbstractContextManager[Server]]
_ROW = "{:<52} {:>12} {:>12} {:>10}  {}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.fanout", description="the fan-out benchmark")
    parser.add_argument("--quick", action="store_true", help="one run of each measurement instead of five")
    runs = 1 if parser.parse_args().quick else 5
    # A thousand sockets and their Redis connections; children inherit the limit.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="sluiceway-bench-") as directory:
        stage = Stage(Path(directory))
        with stage.valkey():
            report(Bench(stage, Load(Path(directory))), runs)


def report(bench: Bench, runs: int) -> None:
    print(f"{describe(bench.stage.redis_url)}; medians of {runs}")
    ceiling = bench.load.run("ceiling", SUBSCRIBERS, 2)["events_per_second"]
    print(f"the load client itself takes {ceiling:,.0f} events/s from a raw writer beside it\n")
    print(_ROW.format("", "gateway", "baseline", "ratio", "target"))
    bench.stage.announce(SUBSCRIBERS)
    bench.fill(SUBSCRIBERS, 1, finished=False)
    kilobytes = _medians(bench, runs, bench.kilobytes_per_stream, fresh=True)
    _print("KB of the process per open stream", kilobytes, "{:.1f}", "gateway <= 14", kilobytes[1] / kilobytes[0])
    _connections(bench)
    rates = _rates(bench, runs)
    label = f"delivered events/s, {SUBSCRIBERS:,} subscribers, p99 < {P99_MS:.0f} ms"
    _print(label, rates, "{:,.0f}", ">= 8 x", rates[0] / rates[1])
    bench.fill(SUBSCRIBERS, REPLAYED, finished=False)
    storms = _medians(bench, runs, bench.storm_seconds)
    label = f"reconnect storm, {SUBSCRIBERS:,} clients x {REPLAYED} events, s"
    _print(label, storms, "{:.2f}", ">= 20 x", storms[1] / storms[0])
    bench.fill(1, TURN, finished=True)
    replays = _medians(bench, runs, bench.replay_ms)
    _print(
        f"replay of a finished turn of {TURN:,} chunks, ms",
        replays,
        "{:.0f}",
        "gateway <= 300",
        replays[1] / replays[0],
    )


def _medians(
    bench: Bench, runs: int, measure: Callable[[Server], float], *, fresh: bool = False
) -> tuple[float, float]:
    """The median for the gateway and for the baseline. `fresh`: each run has a new process."""
    processes, each = (runs, 1) if fresh else (1, runs)
    gateway = [value for _ in range(processes) for value in _run(bench.stage.gateway, measure, each)]
    baseline = [value for _ in range(processes) for value in _run(bench.stage.baseline, measure, each)]
    return median(gateway), median(baseline)


def _run(start: Start, measure: Callable[[Server], float], runs: int) -> list[float]:
    with start() as server:
        return [measure(server) for _ in range(runs)]


def _connections(bench: Bench) -> None:
    counts: list[list[int]] = []
    for start in (bench.stage.gateway, bench.stage.baseline):
        with start() as server:
            # The first crowd fills the pool for short commands, which has a bound of its own.
            bench.connections(server, SUBSCRIBERS)
            counts.append([bench.connections(server, subscribers) for subscribers in (10, SUBSCRIBERS)])
    for number, subscribers in enumerate((10, SUBSCRIBERS)):
        pair = (counts[0][number], counts[1][number])
        _print(f"connections to Redis, {subscribers:,} subscribers", pair, "{:,.0f}", "must not grow")


def _rates(bench: Bench, runs: int) -> tuple[float, float]:
    """Each search begins where the one before it ended, so that only the first is long."""
    found: list[float] = []
    for start, first in ((bench.stage.gateway, 40_000), (bench.stage.baseline, 4_000)):
        rates = [first]
        with start() as server:
            for _ in range(runs):
                rates.append(bench.highest_rate(server, rates[-1]))
        found.append(median(rates[1:]))
    return found[0], found[1]


def _print(label: str, pair: tuple[float, float], form: str, target: str, ratio: float | None = None) -> None:
    shown = "" if ratio is None else f"{ratio:.1f} x"
    print(_ROW.format(label, form.format(pair[0]), form.format(pair[1]), shown, target), flush=True)


if __name__ == "__main__":
    main()
