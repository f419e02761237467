"""One RESP3 connection to Redis for the hub, pipelined by itself.

Guarantees: replies come back in the order of their commands; what is asked in one turn of the event loop leaves in one
write; pushed messages reach `on_push` in their place between the replies; when the connection is lost, everyone who
still waits for a reply is told `WireLost`, and `on_lost` is called, once, before anyone can ask again.
Not guaranteed: that a command that was told `WireLost` did not run. Nothing is sent again here.

Source: the RESP3 specification, and CLIENT TRACKING of Redis 6 and later.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, cast
from urllib.parse import parse_qs, unquote, urlsplit

import hiredis
from redis.asyncio.connection import SSLConnection, parse_url

# A reply is what hiredis makes of it; an error is a value: hiredis.ReplyError, or WireLost.
Reply = Any
OnReply = Callable[[Reply], None]
Take = Callable[[Reply], Any]
OnPush = Callable[[list[Any]], None]
OnLost = Callable[[], None]

_NOTHING = object()


def pack(*command: str | bytes) -> bytes:
    return bytes(hiredis.pack_command(cast("Any", command)))


class WireLost(ConnectionError):
    """The connection to Redis is gone; whether a command has run is not known."""


@dataclass(frozen=True, slots=True)
class Address:
    """What a redis://, rediss:// or unix:// URL says. `tls_options`: its `ssl_…`, as redis-py knows them."""

    host: str
    port: int
    path: str | None
    tls: bool
    username: str
    password: str | None
    database: int
    tls_options: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raise ValueError, without the password in it, when the URL is none of Redis."""
        parts = urlsplit(url)
        if parts.scheme not in ("redis", "rediss", "unix"):
            raise ValueError("a Redis URL begins with redis://, rediss:// or unix://")
        query = parse_qs(parts.query)
        local = parts.scheme == "unix"
        database = query.get("db", ["0" if local else parts.path.strip("/") or "0"])[0]
        if not database.isdecimal():
            raise ValueError("the database of a Redis URL is a number")
        return cls(
            host=parts.hostname or "127.0.0.1",
            port=parts.port or 6379,
            path=unquote(parts.path) if local else None,
            tls=parts.scheme == "rediss",
            username=unquote(parts.username or "") or "default",
            password=unquote(parts.password) if parts.password else None,
            database=int(database),
            tls_options={name: value for name, value in parse_url(url).items() if name.startswith("ssl_")},
        )

    def tls_context(self) -> ssl.SSLContext | None:
        """The very one that redis-py makes of this URL, so that all connections of a process are made alike. Files are
        read now: a certificate that was renewed counts from the next connection on. Raises OSError."""
        return SSLConnection(**self.tls_options).ssl_context.get() if self.tls else None


class RedisWire(asyncio.Protocol):
    """A connected wire. Made by `connect`; ends by `close`, or by itself."""

    def __init__(self, address: Address, on_push: OnPush, on_lost: OnLost) -> None:
        self.address = address
        self._loop = asyncio.get_running_loop()
        self._on_push = on_push
        self._on_lost = on_lost
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._waiting: deque[OnReply] = deque()
        self._unsent: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._heard_at = self._loop.time()
        self._why = "not connected"
        self.gone = False

    @classmethod
    async def connect(cls, address: Address, *, name: str, on_push: OnPush, on_lost: OnLost) -> Self:
        """Connect, log in, select the database and turn tracking on.

        Raises OSError when nobody is there, hiredis.ReplyError when Redis refuses, WireLost when it hangs up.
        """
        wire = cls(address, on_push, on_lost)
        loop = asyncio.get_running_loop()
        if address.path is not None:
            await loop.create_unix_connection(lambda: wire, address.path)
        else:
            await loop.create_connection(lambda: wire, address.host, address.port, ssl=address.tls_context())
        try:
            login = () if address.password is None else ("AUTH", address.username, address.password)
            await wire.execute("HELLO", "3", *login, "SETNAME", name)
            if address.database:
                await wire.execute("SELECT", str(address.database))
            await wire.execute("CLIENT", "TRACKING", "ON")
        except BaseException:
            wire.close()
            raise
        return wire

    def ask(self, command: bytes, on_reply: OnReply) -> None:
        """Send one packed command; `on_reply` is called with its reply, in order. It must not raise."""
        if self._transport is not None and self._transport.is_closing():
            self._lose("the connection to Redis is closing")
        if self.gone or self._transport is None:
            on_reply(WireLost(self._why))
            return
        if not self._waiting:
            self._heard_at = self._loop.time()
        self._waiting.append(on_reply)
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(command)

    async def execute(self, *command: str | bytes) -> Reply:
        return await self.fetch(pack(*command))

    async def role(self) -> bytes | None:
        """What the server says that it is; None where it does not tell. Raises WireLost."""
        try:
            return bytes((await self.execute("ROLE"))[0])
        except hiredis.ReplyError:
            return None

    async def fetch(self, command: bytes, take: Take | None = None) -> Any:
        """The reply to one packed command, or what `take` makes of it. Raises WireLost, hiredis.ReplyError, or what
        `take` raises.

        `take` runs before the next reply is read: what it drops of a large one never waits beside others.
        """
        future: asyncio.Future[Any] = self._loop.create_future()

        def on_reply(reply: Reply) -> None:
            if future.done():
                return
            if isinstance(reply, Exception):
                future.set_exception(reply)
                return
            try:
                future.set_result(reply if take is None else take(reply))
            except Exception as error:  # noqa: BLE001 - it is for the one who asked, not for the wire
                future.set_exception(error)

        self.ask(command, on_reply)
        return await future

    def silent_seconds(self) -> float:
        """For how long Redis has owed a reply without saying anything; 0 when it owes none."""
        return self._loop.time() - self._heard_at if self._waiting else 0.0

    def close(self) -> None:
        """Hang up at once. A Redis that no longer answers would keep a polite close waiting."""
        self._close("closed")

    def _close(self, reason: str) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._lose(reason)

    def _flush(self) -> None:
        commands, self._unsent = self._unsent, []
        if self._transport is not None and not self.gone:
            self._transport.write(b"".join(commands))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        reader = self._reader
        reader.feed(data)
        try:
            while not self.gone and (reply := reader.gets()) is not _NOTHING:
                if isinstance(reply, hiredis.PushNotification):
                    self._on_push(reply)
                elif self._waiting:
                    self._waiting.popleft()(reply)
                else:  # one that wants nobody, or nobody more, says so before it is asked anything
                    self._close(str(reply))
        except hiredis.ProtocolError:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(str(exc) if exc else "Redis closed the connection")

    def _lose(self, reason: str) -> None:
        if self.gone:
            return
        self.gone = True
        self._why = reason
        self._on_lost()
        waiting, self._waiting = self._waiting, deque()
        for on_reply in waiting:
            on_reply(WireLost(reason))
