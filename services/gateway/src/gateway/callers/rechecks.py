"""Whether those who follow open streams still may: looked at every few seconds, for all of them together.

Guarantees: a stream is broken off within PERIOD_SECONDS and a look after its API key was revoked, its browser was
signed out, or what it shows was claimed by somebody else. The end of a token needs no look: `following.Kept` has a
timer for it. No request and nothing that is streamed waits for this, and each look asks once for each key and turn,
however many follow by it. Where Postgres or Redis is away, what depends on it is looked at when it is back.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import Protocol

from redis.asyncio import Redis
from redis.exceptions import ResponseError
from sluiceway import keys
from sluiceway.errors import Unavailable
from sluiceway.ids import user_of
from sluiceway.redis.client import commands
from sluiceway.store.people.api_keys import ApiKeyStore

from gateway.callers.caller import SERVICE_PREFIX, SETTINGS_KEY, Caller
from gateway.callers.signed_out import SignedOut

PERIOD_SECONDS = 5.0
_AT_ONCE = 500


class Open(Protocol):
    """A stream that is open. `task_id`: the turn that it shows, where that is the caller's own."""

    @property
    def caller(self) -> Caller: ...

    @property
    def task_id(self) -> str | None: ...

    def break_off(self, reason: str) -> None: ...


class Rechecks:
    def __init__(self, signed_out: SignedOut, api_keys: ApiKeyStore, redis: Redis) -> None:
        self._signed_out = signed_out
        self._api_keys = api_keys
        self._redis = redis
        self._open: set[Open] = set()

    def add(self, stream: Open) -> None:
        self._open.add(stream)

    def remove(self, stream: Open) -> None:
        self._open.discard(stream)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(PERIOD_SECONDS)

    async def look(self) -> None:
        for check in (self._browsers, self._programs, self._owners):
            try:
                await check()
            except (Unavailable, ResponseError):
                continue

    async def _browsers(self) -> None:
        await self._signed_out.look()
        _break(
            (one for one in self._open if self._signed_out.has(one.caller.user_id, one.caller.expires_at)),
            "the sign-in has ended",
        )

    async def _programs(self) -> None:
        """Also those that came by a stream token, which a key has made."""
        by_name: defaultdict[str, list[Open]] = defaultdict(list)
        for stream in self._open:
            name = user_of(stream.caller.user_id or "")
            if name.startswith(SERVICE_PREFIX) and name != SETTINGS_KEY:
                by_name[name.removeprefix(SERVICE_PREFIX)].append(stream)
        good = await self._api_keys.good(list(by_name)) if by_name else set()
        for name, streams in by_name.items():
            if name not in good:
                _break(streams, "the API key has ended")

    async def _owners(self) -> None:
        by_task: defaultdict[str, list[Open]] = defaultdict(list)
        for stream in self._open:
            if stream.task_id is not None:
                by_task[stream.task_id].append(stream)
        asked = list(by_task)
        for page in (asked[first : first + _AT_ONCE] for first in range(0, len(asked), _AT_ONCE)):
            told = await commands(self._redis, [("HGET", keys.task_meta(task_id), "user_id") for task_id in page])
            for task_id, owner in zip(page, told, strict=True):
                # What Redis does not know, or cannot say, proves nothing.
                if isinstance(owner, bytes):
                    others = [one for one in by_task[task_id] if one.caller.user_id != owner.decode()]
                    _break(others, "it is somebody else's")


def _break(streams: Iterable[Open], reason: str) -> None:
    for stream in list(streams):
        stream.break_off(reason)
