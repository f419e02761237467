"""A service as it is, observed: `python -m bench.tools.observed MODULE FILE`.

FILE holds two numbers, eight bytes each, native order, for whoever maps it: the service's round trips to Redis and to
Postgres. Every command and every pipeline of redis-py leaves through one method of its connections, and every message
of asyncpg that waits for an answer through one of four, once per round trip.

SIGUSR1 makes the service collect its garbage and write what it holds to FILE.held, as `Held` in JSON.
"""

import asyncio
import gc
import importlib
import json
import mmap
import os
import signal
import struct
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import asyncpg.protocol
from redis.asyncio.connection import AbstractConnection

from harness.waiting import wait_until

_FORMAT = "QQ"
_REDIS, _POSTGRES = 0, 1
_WAITS_FOR_POSTGRES = ("prepare", "bind_execute", "bind_execute_many", "query")
_HELD_SECONDS = 20


@dataclass(frozen=True)
class RoundTrips:
    redis: int
    postgres: int

    def __sub__(self, other: "RoundTrips") -> "RoundTrips":
        return RoundTrips(self.redis - other.redis, self.postgres - other.postgres)


@dataclass(frozen=True)
class Held:
    """What a process holds after a collection. `blocks`: of Python's allocator; `tasks`: of its event loop."""

    blocks: int
    tasks: int


def command(service: str, file: Path) -> list[str]:
    """How a service is started so that it is observed: `command("chat-worker", file)`."""
    file.write_bytes(bytes(struct.calcsize(_FORMAT)))
    module = f"{service.replace('-', '_')}.__main__"
    return [sys.executable, "-m", "bench.tools.observed", module, str(file)]


def round_trips(file: Path) -> RoundTrips:
    return RoundTrips(*struct.unpack(_FORMAT, file.read_bytes()))


async def held(pid: int, file: Path) -> Held:
    """Ask an observed process."""
    told = _told(file)
    told.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    await wait_until(told.exists, _HELD_SECONDS, "an observed process tells what it holds")
    return Held(**json.loads(told.read_text()))


def _told(file: Path) -> Path:
    return file.with_suffix(".held")


def _count(file: Path) -> None:
    with file.open("r+b") as opened:
        counters = memoryview(mmap.mmap(opened.fileno(), struct.calcsize(_FORMAT))).cast("Q")
    method = "send_packed_command"
    setattr(AbstractConnection, method, _counted(getattr(AbstractConnection, method), counters, _REDIS))
    protocol: Any = asyncpg.protocol
    methods = {name: _counted(getattr(protocol.Protocol, name), counters, _POSTGRES) for name in _WAITS_FOR_POSTGRES}
    protocol.Protocol = type("Protocol", (protocol.Protocol,), methods)


def _counted(method: Callable[..., Awaitable[Any]], counters: memoryview, which: int) -> Callable[..., Awaitable[Any]]:
    async def counted(*arguments: Any, **options: Any) -> Any:
        counters[which] += 1
        return await method(*arguments, **options)

    return counted


def _tell(file: Path) -> None:
    gc.collect()
    told = Held(sys.getallocatedblocks(), len(asyncio.all_tasks()))
    new = file.with_suffix(".new")
    new.write_text(json.dumps(asdict(told)))
    new.rename(_told(file))


def main() -> None:
    module, file = sys.argv[1], Path(sys.argv[2])
    _count(file)
    signal.signal(signal.SIGUSR1, lambda *_: _tell(file))
    importlib.import_module(module).main()


if __name__ == "__main__":
    main()
