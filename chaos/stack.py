"""The system of a chaos run: every part a process of its own, on free ports, in one directory.

The services have their default settings but for addresses and what `overrides` says. Their logs stay in the directory.
"""

import asyncio
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Literal

import httpx
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.redis.client import command, open_redis

from chaos.cluster_path import ClusterPath
from chaos.process_thread import ProcessThread
from chaos.questions import MAX_ANSWER_CHARS
from chaos.redis_path import RedisPath
from chaos.sentinel_path import SentinelPath
from harness.databases.postgres import Postgres
from harness.processes.child import Child
from harness.processes.model_process import ModelProcess
from harness.processes.ports import free_port
from harness.processes.services import Service, Services, clean_environment
from harness.waiting import wait_until

Kind = Literal["gateway", "chat-worker", "tool-runner", "completion-consumer"]
# How Redis is reached: at one address, behind which servers change, through Sentinels, or as a cluster.
Topology = Literal["address", "sentinel", "cluster"]
_PATHS: Mapping[Topology, type[RedisPath | SentinelPath | ClusterPath]] = {
    "address": RedisPath,
    "sentinel": SentinelPath,
    "cluster": ClusterPath,
}
KINDS: tuple[Kind, ...] = ("gateway", "chat-worker", "tool-runner", "completion-consumer")

_ROOT = Path(__file__).parents[1]
_TOOLS = Path(__file__).with_name("chaos_tools")
# One of the chat workers goes on with what a dead one had begun; the others begin the step again.
_WORKERS: tuple[Mapping[str, str], ...] = ({}, {}, {"MODEL_CONTINUATION": "llama.cpp"})
_COUNTS: Mapping[Kind, int] = {"gateway": 2, "chat-worker": len(_WORKERS), "tool-runner": 2, "completion-consumer": 2}
# A server whose one tool answers with 200 MB.
_HOSTILE = {
    "command": [sys.executable, str(_ROOT / "tests" / "tool_runner" / "mcp" / "hostile_server.py")],
    "protocol": "legacy",
    "tools": ["huge"],
}
_READY_SECONDS = 120
# A worker looks at the catalogue every second.
_WORKERS_LOOK_SECONDS = 1.2
_SECRETS = '["whsec_Y2hhb3MtY2hhb3MtY2hhb3MtY2hhb3M="]'


class Stack:
    """Everything but Postgres, which is given and runs."""

    def __init__(
        self,
        directory: Path,
        postgres: Postgres,
        database_url: str,
        overrides: Mapping[str, str],
        rng: random.Random,
        topology: Topology = "address",
    ) -> None:
        self.directory = directory
        self.process_thread = ProcessThread()
        self.redis_path = _PATHS[topology](directory, rng, self.process_thread)
        self.postgres = postgres
        self.database_url = database_url
        self._tally = directory / "tally.txt"
        self._tally.touch()
        self.lease_seconds = float(overrides.get("LEASE_SECONDS", "10"))
        self._overrides = dict(overrides)
        self._model = ModelProcess(directory, "chaos.model")
        self._outside_port = free_port()
        self._outside = self._outside_child()
        self._web_port = free_port()
        self._web = self._child("hostile-web", "-m", "chaos.hostile_web", str(self._web_port))
        self._by_kind: dict[Kind, list[Service]] = {kind: [] for kind in KINDS}
        self._told: list[str] = []
        self.services = Services(directory, {})

    async def start(self) -> None:
        """All of it, as many processes at once as there are processors; ready when every service is."""
        await self.process_thread.do(self.redis_path.start)
        await self.process_thread.do(self._model.start)
        for child in (self._outside, self._web):
            child.start({**clean_environment(), "PYTHONUNBUFFERED": "1"}, directory=_ROOT)
        self.services.environment = self._environment()
        ports = [free_port() for _ in range(_COUNTS["gateway"])]
        starting = [
            *(self.services.gateway(ready_path="/healthz", PORT=str(port)) for port in ports),
            *(self.services.chat_worker(**more) for more in _WORKERS),
            *(self.services.completion_consumer() for _ in range(_COUNTS["completion-consumer"])),
            *(self.services.tool_runner(**self._of_runner(port)) for port in ports[: _COUNTS["tool-runner"]]),
        ]
        await _few_at_once(starting)
        for service in self.services.all:
            self._by_kind[_kind(service)].append(service)
        await self.ready()

    async def ready(self) -> None:
        """Wait until every process is, as after a scenario, and the workers offer the tools that runners have."""
        for service in self.services.all:
            await wait_until(lambda: service.answers("/readyz"), _READY_SECONDS, f"{service.name} is ready")  # noqa: B023
        await wait_until(lambda: self._outside_answers(), 30, "the outside service answers")
        async with open_redis(self.redis_path.url, name="chaos") as client:
            await wait_until(lambda: command(client, "EXISTS", keys.CATALOGUE), 30, "tools are offered")
        await asyncio.sleep(_WORKERS_LOOK_SECONDS)

    async def start_again(self) -> None:
        """Every service that does not run, and wait until all are ready."""
        dead = [service for service in self.services.all if not service.alive]
        await _few_at_once([service.start("/healthz") for service in dead])
        await self.ready()

    def of(self, kind: Kind) -> list[Service]:
        return self._by_kind[kind]

    @property
    def gateways(self) -> list[str]:
        """Their addresses."""
        return [service.url for service in self.of("gateway")]

    def redis(self) -> Redis:
        """A client that answers text, past the address at which connections break."""
        return Redis.from_url(self.redis_path.primary.url, decode_responses=True, socket_timeout=5)

    def tally(self) -> Counter[str]:
        """How often each effect happened that cannot be taken back."""
        return Counter(self._tally.read_text().splitlines())

    def new_complaints(self) -> list[str]:
        """What no healthy process does, as far as it was not told before."""
        found = [complaint for complaint in self._complaints() if complaint not in self._told]
        self._told += found
        return found

    def _complaints(self) -> list[str]:
        found = self.services.complaints()
        for child in (self._outside, self._web):
            if not child.alive:
                found.append(f"{child.name} ended with {child.exit_code}")
        return found

    def stop(self) -> list[str]:
        """End everything but Postgres and the thread that may have started it; what was wrong with the services."""
        complaints = [complaint for complaint in self.services.stop() if complaint not in self._told]
        for end in (self._outside.end, self._web.end, self._model.stop, self.redis_path.stop):
            end()
        return complaints

    def _environment(self) -> dict[str, str]:
        return clean_environment(
            REDIS_URL=self.redis_path.url,
            DATABASE_URL=self.database_url,
            OPENAI_BASE_URL=f"{self._model.url}/v1",
            OPENAI_API_KEY="not-a-secret",
            MODEL="fake",
            WEBHOOK_SECRETS=_SECRETS,
            MAX_ANSWER_CHARS=str(MAX_ANSWER_CHARS),
            **self._overrides,
        )

    def _of_runner(self, gateway_port: int) -> dict[str, str]:
        return {
            "TOOLS_DIR": str(_TOOLS),
            "TALLY_FILE": str(self._tally),
            "PUBLIC_URL": f"http://127.0.0.1:{gateway_port}",
            "MCP_SERVERS": json.dumps({"h": _HOSTILE}),
            "WEB_FETCH_ALLOW_PRIVATE": '["127.0.0.1/32"]',
            "TOOLS_NEEDING_APPROVAL": "[]",
            "HTTP_OPERATIONS": f'{{"outside": "http://127.0.0.1:{self._outside_port}/operations"}}',
        }

    @property
    def web_url(self) -> str:
        """Where hostile pages are."""
        return f"http://127.0.0.1:{self._web_port}"

    def _outside_child(self) -> Child:
        program = _ROOT / "examples" / "outside_service.py"
        return self._child("outside-service", str(program), "--port", str(self._outside_port))

    def _child(self, name: str, *command: str) -> Child:
        return Child(name, [sys.executable, *command], self.directory / f"{name}.log")

    async def _outside_answers(self) -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False) as client:
                return (await client.get(f"http://127.0.0.1:{self._outside_port}/")).status_code == 404
        except httpx.TransportError:
            return False


async def _few_at_once(starting: Sequence[Coroutine[None, None, Service]]) -> None:
    """A process that starts computes: more at once than there are processors only makes all of them late."""
    places = asyncio.Semaphore(os.cpu_count() or 1)
    await asyncio.gather(*(_in_place(places, one) for one in starting))


async def _in_place(places: asyncio.Semaphore, starting: Coroutine[None, None, Service]) -> None:
    async with places:
        await starting


def _kind(service: Service) -> Kind:
    return next(kind for kind in KINDS if service.name.startswith(kind))
