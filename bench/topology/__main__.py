"""One Valkey beside a cluster of six, and queues of one partition beside three, in one run, through the real services.

    python -m bench.topology [--quick] [--disk] [first-token] [events] [queue]

All nodes share the machine's cores with everything else, so the cluster has no more of them than the single server:
what is seen is what its ways cost, not what more nodes would bring.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import product

from bench.reporting import Report, main, row
from bench.topology import deliveries, queue_latency
from bench.worker import first_token
from bench.worker.first_token import Overhead
from bench.worker.stage import Stage
from harness.databases.redis_cluster import RedisCluster

PARTITIONS = (1, 3)


@asynccontextmanager
async def _each(stage: Stage) -> AsyncIterator[Mapping[str, str]]:
    """The URLs, by name. The nodes are up in both measurements."""
    with RedisCluster.running(stage.directory) as cluster:
        yield {"one server": stage.valkey.url, "a cluster of six": cluster.url}


async def report_first_token(stage: Stage, runs: int, quick: bool) -> None:
    """In turn, so that what else the machine does is shared by all."""
    overheads: dict[str, list[Overhead]] = {}
    async with _each(stage) as urls:
        for _ in range(runs):
            for (name, stage.redis_url), partitions in product(urls.items(), PARTITIONS):
                stage.settings = {"QUEUE_PARTITIONS": str(partitions)}
                measured = await first_token.measure(stage, turns=2 if quick else 5, runs=1)
                overheads.setdefault(f"{name}, queues in {partitions}", []).extend(measured)
    for what, found in overheads.items():
        label = f"{what}: overhead on the first token, {first_token.CLIENTS} turns"
        row(f"{label}, p50, ms", (one.p50_ms for one in found), "{:.1f}")
        row(f"{label}, p99, ms", (one.p99_ms for one in found), "{:.1f}")
        row(f"{label}, to the model, p50, ms", (one.to_model_p50_ms for one in found), "{:.1f}")


async def report_queue(stage: Stage, runs: int, quick: bool) -> None:
    """In turn, too."""
    took: dict[str, list[float]] = {}
    async with _each(stage) as urls:
        for _ in range(1 if quick else 5 * runs):
            for (name, url), partitions in product(urls.items(), PARTITIONS):
                measured = await queue_latency.measure(url, partitions, entries=50)
                took.setdefault(f"{name}, a queue in {partitions}", []).extend(measured)
    for what, found in took.items():
        row(f"{what}: until a waiting consumer has an entry, p50, ms", found, "{:.2f}")


async def report_events(stage: Stage, runs: int, quick: bool) -> None:
    async with _each(stage) as urls:
        for name, stage.redis_url in urls.items():
            done = [await deliveries.measure(stage, rounds=100 if quick else 300) for _ in range(runs)]
            what = f"{name}: {deliveries.STREAMS} streams"
            row(f"{what}, delivered events/s", (one.events_per_second for one in done), "{:,.0f}")
            row(f"{what}, CPU of the gateway, us an event", (one.gateway_us for one in done), "{:.0f}")


REPORTS: Mapping[str, Report] = {"first-token": report_first_token, "events": report_events, "queue": report_queue}


if __name__ == "__main__":
    main("bench.topology", REPORTS, runs=3)
