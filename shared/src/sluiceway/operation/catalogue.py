"""The catalogue: which tools living runners offer. Each runner announces its own, with an expiry.

Guarantees: a tool is in the catalogue while a runner that offers it renews its announcement, and at most `valid_ms`
longer. Times are the Redis server's, so clocks of machines do not matter. A runner that goes leaves an announcement of
nothing, so a catalogue without any is one that Redis has forgotten: see `Catalogue`.
All tools together have at most MAX_BYTES, as each call of a model carries them; those of MCP servers are left out
first.
Not guaranteed: that two runners describe a tool of one name alike; while versions are mixed either is taken.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter, ValidationError
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from sluiceway import keys
from sluiceway.errors import RedisUnavailable
from sluiceway.process.logs import get_logger
from sluiceway.scripts import Scripts
from sluiceway.wire.tools import ToolSpec

VALID_MS = 7000
RENEW_SECONDS = 2.0
_LOOK_SECONDS = 1.0
MAX_BYTES = 256 * 1024
_SPECS: TypeAdapter[list[ToolSpec]] = TypeAdapter(list[ToolSpec])
_ENTRIES: TypeAdapter[list[Any]] = TypeAdapter(list[Any])
_SPEC = TypeAdapter(ToolSpec)
_OF_A_SERVER = "__"


async def announce(redis: Redis, runner: str, specs: Sequence[ToolSpec], valid_ms: int = VALID_MS) -> None:
    """Offer these tools, and nothing else, until `valid_ms` from now. Raises RedisUnavailable."""
    await Scripts(redis).run("operation/announce", [keys.CATALOGUE], [runner, _SPECS.dump_json(list(specs)), valid_ms])


async def withdraw(redis: Redis, runner: str) -> None:
    """Offer nothing more. Raises RedisUnavailable; the announcement expires by itself."""
    await announce(redis, runner, [])


async def read_catalogue(redis: Redis) -> dict[str, ToolSpec]:
    """The tools of all living runners, by name. Raises RedisUnavailable."""
    return _read(await _announced(redis))


async def offered_names(redis: Redis) -> set[str]:
    """What living runners can run, also what there was no room for in the catalogue, and what another version of a
    runner says of it. Raises RedisUnavailable."""
    return {name for _, specs in await _announced(redis) for name in _names(specs)}


def _names(announced: bytes) -> Iterator[str]:
    with contextlib.suppress(ValidationError):
        for entry in _ENTRIES.validate_json(announced):
            if isinstance(entry, dict) and isinstance(name := entry.get("name"), str):
                yield name


def _read(announced: list[tuple[str, bytes]]) -> dict[str, ToolSpec]:
    found: dict[str, ToolSpec] = {}
    for runner, specs in sorted(announced):
        for spec in _readable(runner, specs):
            found[spec.name] = spec
    return _fitting(found)


def _readable(runner: str, announced: bytes) -> Iterator[ToolSpec]:
    """A runner of another version may have entries that this one cannot read: the others are good all the same."""
    try:
        specs = _SPECS.validate_json(announced)
    except ValidationError as error:
        get_logger().error("catalogue_entry_unreadable", runner=runner, errors=error.error_count())
    else:
        yield from specs
        return
    with contextlib.suppress(ValidationError):
        for entry in _ENTRIES.validate_json(announced):
            with contextlib.suppress(ValidationError):
                yield _SPEC.validate_python(entry)


def _fitting(found: Mapping[str, ToolSpec]) -> dict[str, ToolSpec]:
    """By name, and no more than models are to carry."""
    fitting: dict[str, ToolSpec] = {}
    left = MAX_BYTES
    for name in sorted(found, key=lambda name: (_OF_A_SERVER in name, name)):
        left -= len(found[name].model_dump_json())
        if left < 0:
            get_logger().warning("tool_left_out", tool=name, reason=f"the catalogue has more than {MAX_BYTES} bytes")
        else:
            fitting[name] = found[name]
    return dict(sorted(fitting.items()))


class Catalogue:
    """The catalogue as it was a second ago, for those who ask at every step. `run` is its one task.

    When Redis has forgotten it, what was last seen is offered for `VALID_MS` more: by then those who live have
    announced theirs again, and meanwhile no turn is answered as if there were no tools.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._seen_at = -math.inf
        self._announced: list[tuple[str, bytes]] = []
        self.tools: Mapping[str, ToolSpec] = MappingProxyType({})

    async def run(self) -> None:
        """Look until cancelled. While Redis is away, or refuses, what was last seen stays."""
        while True:
            try:
                await self.refresh()
            except (RedisUnavailable, ResponseError) as error:
                get_logger().warning("catalogue_delayed", reason=str(error))
            await asyncio.sleep(_LOOK_SECONDS)

    async def look_for(self, name: str) -> None:
        """Look again for a tool that is not known: its runner may have come just now. While Redis is away: not."""
        if name not in self.tools:
            with contextlib.suppress(RedisUnavailable):
                await self.refresh()

    async def refresh(self) -> None:
        announced = await _announced(self._redis)
        now = time.monotonic()
        if announced:
            self._seen_at = now
        elif now - self._seen_at < VALID_MS / 1000:
            return
        if announced != self._announced:
            self._announced = announced
            self.tools = MappingProxyType(_read(announced))


async def _announced(redis: Redis) -> list[tuple[str, bytes]]:
    flat = await Scripts(redis).run("operation/catalogue", [keys.CATALOGUE])
    return [(runner.decode(errors="replace"), specs) for runner, specs in zip(flat[::2], flat[1::2], strict=True)]
