"""The gateway's process: settings → logging → clients → serve → drain."""

import asyncio
import contextlib
from typing import Any

from sluiceway.cancelling import cancelled
from sluiceway.process.end_limit import AFTER_DRAIN_SECONDS, end_within
from sluiceway.process.metrics import LoopLag
from sluiceway.process.starting import run_service
from sluiceway.queue.worker import persistently

from gateway.drain import Drain
from gateway.serving.app import create_app
from gateway.serving.gc_tuning import tune_gc
from gateway.serving.server import Server
from gateway.settings import Settings
from gateway.state import Gateway, open_gateway

_LOOK_SECONDS = 2


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    drain = Drain()
    async with open_gateway(settings, drain) as gateway, asyncio.TaskGroup() as group:
        await _look_around(gateway)
        beside: list[asyncio.Task[Any]] = [group.create_task(gateway.agreement.run(), name="agreement")]
        beside.append(group.create_task(LoopLag(gateway.metrics.registry).run(), name="loop-lag"))
        beside.append(group.create_task(gateway.surroundings.run(), name="surroundings"))
        beside.append(group.create_task(gateway.queue_news.run(), name="queue-news"))
        beside.append(group.create_task(gateway.people.run(), name="person-events"))
        beside.append(group.create_task(gateway.rechecks.run(), name="rechecks"))
        beside.append(group.create_task(gateway.files_watch.run(), name="files-watch"))
        if settings.migrate_on_start:
            beside.append(group.create_task(persistently(gateway.store.migrate), name="migrate"))
        server = Server(create_app(gateway), settings, drain)
        tune_gc()
        try:
            await server.serve()
        finally:
            end_within(AFTER_DRAIN_SECONDS)
        await cancelled(beside)


async def _look_around(gateway: Gateway) -> None:
    """Before anything is accepted; what says nothing for so long is away, and no more is known of it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LOOK_SECONDS):
            await asyncio.gather(gateway.surroundings.look(), gateway.rechecks.look())


def main() -> None:
    run_service("gateway", Settings, serve)


if __name__ == "__main__":
    main()
