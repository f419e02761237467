"""The gateway's process: settings → logging → clients → serve → drain."""

import asyncio
import sys

import uvloop
from pydantic import ValidationError
from sluiceway.logs import configure_logging
from sluiceway.worker import persistently

from gateway.app import create_app
from gateway.collector import calm_collector
from gateway.drain import Drain
from gateway.server import Server
from gateway.settings import Settings
from gateway.state import open_gateway


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    drain = Drain()
    async with open_gateway(settings, drain) as gateway, asyncio.TaskGroup() as group:
        beside = []
        if settings.migrate_on_start:
            beside.append(group.create_task(persistently(gateway.store.migrate), name="migrate"))
        server = Server(create_app(gateway), settings, drain)
        calm_collector()
        await server.serve()
        for task in beside:
            task.cancel()


def main() -> None:
    try:
        settings = Settings()
    except ValidationError as error:
        sys.exit(f"gateway: the settings are not valid:\n{error}")
    configure_logging("gateway", settings.log_format, settings.log_level)
    uvloop.run(serve(settings))


if __name__ == "__main__":
    main()
