"""The hub's way to its Redis node: one wire, made again whenever it is lost, for ever.

Guarantees: at most one connection at a time; capped, jittered waits between attempts; a Redis that accepts commands but
stays silent for `reply_seconds` counts as lost, and so does a primary that became a replica, of which nobody need have
told us: the next wire leads to its successor. With Sentinels a wire stands only with a primary, and for hardly more
than a second after they have promoted another one, whatever the old one says. `on_up` is called each time that a wire
stands, before anything is asked on it. Not guaranteed: that what was pushed while there was no wire is ever heard of;
`on_up` is where to ask.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import hiredis
from redis.exceptions import RedisError
from sluiceway.backoff import Backoff
from sluiceway.errors import RedisUnavailable
from sluiceway.process.logs import get_logger

from gateway.fanout.redis_way import Way
from gateway.fanout.redis_wire import Address, OnReply, RedisWire, Reply, Take, WireLost, pack

_ROLE = pack("ROLE")
_PRIMARY = b"master"
_CONNECT_SECONDS = 3.0
# A wire that stood for this long was a good one: the next attempt need not wait for long.
_STOOD_SECONDS = 0.5


class Uplink:
    def __init__(
        self,
        way: Way,
        *,
        name: str,
        reply_seconds: float,
        on_push: Callable[[list[Any]], None],
        on_up: Callable[[], None],
    ) -> None:
        self._way = way
        self._name = name
        self._reply_seconds = reply_seconds
        self._on_push = on_push
        self._on_up = on_up
        self._wire: RedisWire | None = None
        self._was_primary = False
        self._up = asyncio.Event()
        self._down = asyncio.Event()
        self._down_since = asyncio.get_running_loop().time()
        self.reconnects = 0

    async def run(self) -> None:
        """Keep a wire standing until cancelled."""
        backoff = Backoff(0.05, 2.0)
        try:
            while True:
                wire = await self._connect(backoff)
                since = asyncio.get_running_loop().time()
                if not wire.gone:
                    self._stand(wire)
                    await self._until_down(wire.address)
                stood_seconds = self._down_since - since
                if stood_seconds > _STOOD_SECONDS:
                    backoff.reset()
                get_logger().warning("redis_connection_lost", stood_seconds=round(stood_seconds, 3))
                await asyncio.sleep(backoff.next_seconds())
        finally:
            self.reset()
            await self._way.close()

    async def _connect(self, backoff: Backoff) -> RedisWire:
        told: set[str] = set()
        while True:
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    wire = await self._connected(await self._way.address())
            except TimeoutError:
                reason = f"no answer within {_CONNECT_SECONDS:g} s"
            except (OSError, RedisError, hiredis.ReplyError) as error:
                reason = str(error) or type(error).__name__
            else:
                if told:
                    get_logger().info("redis_reached")
                return wire
            if reason not in told:  # once, not with each attempt
                get_logger().warning("redis_unreachable", reason=reason)
                told.add(reason)
            await asyncio.sleep(backoff.next_seconds())

    async def _connected(self, address: Address) -> RedisWire:
        wire = await RedisWire.connect(address, name=self._name, on_push=self._on_push, on_lost=self._fall)
        if self._way.only_primary:
            role = await wire.role()
            if role not in (None, _PRIMARY):
                wire.close()
                raise WireLost("it is no primary, or not yet")
        return wire

    async def _until_down(self, address: Address) -> None:
        while not self._down.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._way.look_seconds):
                    await self._down.wait()
                return
            if await self._way.leads_elsewhere(address):
                get_logger().warning("redis_moved")
                self.reset()

    def _stand(self, wire: RedisWire) -> None:
        self._wire = wire
        self._was_primary = False
        self._down.clear()
        self._up.set()
        self._on_up()

    def _fall(self) -> None:
        # Also called for a wire that never stood, while it was logging in.
        if self._wire is not None:
            self._wire = None
            self._down_since = asyncio.get_running_loop().time()
            self.reconnects += 1
            self._up.clear()
            self._down.set()

    @property
    def up(self) -> bool:
        return self._wire is not None

    def down_seconds(self) -> float:
        return 0.0 if self._wire is not None else asyncio.get_running_loop().time() - self._down_since

    def ask(self, command: bytes, on_reply: OnReply) -> None:
        """Send a packed command; `on_reply` gets its reply, or WireLost."""
        if self._wire is None:
            on_reply(WireLost("not connected"))
        else:
            self._wire.ask(command, on_reply)

    async def fetch(self, command: bytes, *, patience_seconds: float, take: Take | None = None) -> Any:
        """The reply to a packed command that may run twice, or what `take` makes of it, as `RedisWire.fetch` does.

        Raises RedisUnavailable when there has been no wire for `patience_seconds`, or when Redis refuses.
        """
        while True:
            wire = await self._standing(patience_seconds)
            try:
                return await wire.fetch(command, take)
            except WireLost:
                continue
            except hiredis.ReplyError as error:
                raise RedisUnavailable(str(error)) from error

    async def fetch_once(self, command: bytes, take: Take | None = None) -> Any:
        """As above, of the wire that stands now. Raises WireLost, hiredis.ReplyError."""
        if self._wire is None:
            raise WireLost("not connected")
        return await self._wire.fetch(command, take)

    async def _standing(self, patience_seconds: float) -> RedisWire:
        while self._wire is None:
            try:
                async with asyncio.timeout(patience_seconds - self.down_seconds()):
                    await self._up.wait()
            except TimeoutError:
                raise RedisUnavailable("no connection to Redis") from None
        return self._wire

    def check(self) -> None:
        """To be called now and then: finds out when Redis has gone silent, or is no primary any more."""
        if self._wire is None:
            return
        if self._wire.silent_seconds() > self._reply_seconds:
            self.reset()
        else:
            self._wire.ask(_ROLE, self._judge)

    def reset(self) -> None:
        """Hang up; `run` connects again."""
        if self._wire is not None:
            self._wire.close()

    def _judge(self, role: Reply) -> None:
        """A server that does not tell its role (a proxy, a narrow ACL) has at least answered."""
        if isinstance(role, list):
            if self._was_primary and role[0] != _PRIMARY:
                get_logger().warning("redis_demoted")
                self.reset()
            self._was_primary = role[0] == _PRIMARY
