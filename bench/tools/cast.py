"""The four services with a tool runner among them, observed: what the benchmarks of tools run on."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from redis.asyncio import Redis
from sluiceway.operation.catalogue import read_catalogue

from bench.tools import observed
from bench.tools.observed import Held, RoundTrips
from bench.worker.stage import Stage
from harness.waiting import wait_until

SERVICES = ("gateway", "chat-worker", "tool-runner", "completion-consumer")
TOOLS_DIR = Path(__file__).with_name("offered")
_OFFERED_SECONDS = 20.0


@dataclass(frozen=True)
class Cast:
    """`url`: the gateway's."""

    stage: Stage
    url: str

    def round_trips(self) -> dict[str, RoundTrips]:
        """Since the start, by service."""
        return {name: observed.round_trips(_file(self.stage, name)) for name in SERVICES}

    async def held(self) -> dict[str, Held]:
        asked = [observed.held(self.stage.pid(name), _file(self.stage, name)) for name in SERVICES]
        return dict(zip(SERVICES, await asyncio.gather(*asked), strict=True))


@asynccontextmanager
async def cast(stage: Stage, slots: int, **environment: str) -> AsyncIterator[Cast]:
    """All services, ready, with the tools of `offered/` in the chat worker's catalogue.

    `environment`: of the gateway and of the tool runner, which gets the gateway's address as PUBLIC_URL.
    """

    async def background(name: str, more: Mapping[str, str]) -> None:
        await stage.background(name, command=observed.command(name, _file(stage, name)), **more)

    try:
        command = observed.command("gateway", _file(stage, "gateway"))
        url = await stage.gateway("/healthz", command=command, **environment)
        await background("tool-runner", {"TOOLS_DIR": str(TOOLS_DIR), "PUBLIC_URL": url, **environment})
        async with Redis.from_url(stage.valkey.url) as redis:
            await wait_until(lambda: read_catalogue(redis), _OFFERED_SECONDS, "the tools are offered")
        # The chat worker reads the catalogue as its first deed, before it is ready.
        await asyncio.gather(
            background("chat-worker", {"WORKER_SLOTS": str(slots)}), background("completion-consumer", {})
        )
        await wait_until(lambda: _ready(url), _OFFERED_SECONDS, "the gateway is ready")
        yield Cast(stage, url)
    finally:
        stage.stop_services()


async def _ready(url: str) -> bool:
    async with httpx.AsyncClient(trust_env=False) as http:
        return (await http.get(f"{url}/readyz")).status_code == 200


def _file(stage: Stage, name: str) -> Path:
    return stage.directory / f"{name}.observed"
