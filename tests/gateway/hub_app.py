"""A hub behind a real server on a real socket, with nothing else of the gateway, for the hub's own tests.

`GET /KEY?after=&protocol=&start_index=&merge=&void=&answer=` follows the stream KEY.
"""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
import uvloop
from gateway.fanout.frames import EntryId, format_id, parse_id
from gateway.fanout.hub import Follow, Hub, HubStats, StreamBroken, StreamEnded
from gateway.metrics import Metrics
from gateway.serving.middleware import Edge
from gateway.serving.protocol import BoundedProtocol
from gateway.wire.sse import EventStream
from gateway.wire.unwound import Unwound
from redis.asyncio import Redis
from sluiceway.errors import DomainError, Unavailable
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from harness.waiting import wait_until

TTL_MS = 3_600_000


def _follow(request: Request) -> Follow:
    asked = request.query_params
    cursor = request.headers.get("last-event-id") or asked.get("after", "0-0")
    retracted = [pair.split(">") for pair in asked.get("void", "").split(",") if pair]
    return Follow(
        request.path_params["key"],
        cursor=parse_id(cursor.encode()),
        retracted=tuple((parse_id(kept.encode()), parse_id(resumed.encode())) for kept, resumed in retracted),
        protocol=int(asked.get("protocol", "6")),
        answer_only="answer" in asked,
        start_index=int(asked["start_index"]) if "start_index" in asked else None,
        merge="merge" in asked,
        wait_for_start="started" not in asked,
    )


def application(hub: Hub) -> Edge:
    async def stream(request: Request) -> Response:
        try:
            return Unwound(EventStream(await hub.join(_follow(request))))
        except StreamEnded:
            return Response(status_code=204)
        except DomainError as error:
            return JSONResponse({"code": error.code, **error.extra}, status_code=error.status)
        except Unavailable as error:
            return JSONResponse({"code": error.code}, status_code=error.status)

    return Edge(Starlette(routes=[Route("/{key}", stream)]), Metrics())


class HubServer:
    """Runs on uvloop as the gateway does, in a thread of its own."""

    def __init__(self, redis_url: str, **options: Any) -> None:
        self.hub = Hub(redis_url, **options)
        self._socket = _listener()
        self._server = uvicorn.Server(_configuration(self.hub))
        self._thread = threading.Thread(target=self._run, name="hub-server")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure: BaseException | None = None

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    def url(self, key: str, query: str = "") -> str:
        return f"http://127.0.0.1:{self.port}/{key}?{query}"

    def stats(self) -> HubStats:
        return self.hub.stats()

    def drain(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self.hub.drain)

    async def start(self) -> None:
        self._thread.start()
        await wait_until(lambda: self._server.started or self._failure, what="the server is up")

    async def stop(self) -> None:
        self._server.should_exit = True
        await wait_until(lambda: not self._thread.is_alive(), what="the server has stopped")
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            uvloop.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised again where the test waits for it
            self._failure = error

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with self.hub:
            await self._server.serve(sockets=[self._socket])


def _listener() -> socket.socket:
    """With small send buffers, which its connections inherit: the kernel would hide a slow reader for megabytes."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
    listener.bind(("127.0.0.1", 0))
    return listener


def _configuration(hub: Hub) -> uvicorn.Config:
    return uvicorn.Config(application(hub), http=BoundedProtocol, log_config=None, access_log=False, ws="none")


class _Errors(logging.Handler):
    """Keeps what uvicorn logs as an error, but for streams that were broken on purpose."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, StreamBroken):
            self.messages.append(f"{record.getMessage()} {error!r}")


@contextlib.asynccontextmanager
async def hub_server(redis_url: str, **options: Any) -> AsyncIterator[HubServer]:
    """Fails when the server logs an error of its own, or when a subscriber is left behind at the end."""
    server = HubServer(redis_url, **options)
    errors = _Errors()
    logger = logging.getLogger("uvicorn.error")
    logger.addHandler(errors)
    logger.propagate = False
    await server.start()
    try:
        yield server
        await wait_until(lambda: server.stats().subscribers == 0, timeout=5, what="every subscriber has left")
        assert server.stats().streams == 0
    finally:
        await server.stop()
        logger.removeHandler(errors)
        logger.propagate = True
    assert not errors.messages


class Publisher:
    """Appends entries as a worker does, and remembers them."""

    def __init__(self, redis: Redis, key: str) -> None:
        self.key = key
        self._redis = redis
        self._next: EntryId | None = None
        self.entries: list[tuple[str, bytes]] = []

    async def append(self, kind: str, data: bytes, *, attempt: int = 1, version: int | None = None) -> str:
        entry_id = self._following(attempt)
        fields: dict[Any, Any] = {"t": kind, "d": data} | ({"v": str(version)} if version else {})
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.xadd(self.key, fields, id=entry_id)
            if len(self.entries) == 0:
                pipe.pexpire(self.key, TTL_MS)
            await pipe.execute()
        self.entries.append((entry_id, data))
        return entry_id

    async def start(self) -> str:
        return await self.append("start", b'{"type":"start","messageId":"m"}')

    async def text(self, text: str, *, attempt: int = 1, version: int | None = None) -> str:
        data = b'{"type":"text-delta","id":"1","delta":"%b"}' % text.encode()
        return await self.append("text-delta", data, attempt=attempt, version=version)

    async def finish(self, *, attempt: int = 1) -> str:
        return await self.append("finish", b'{"type":"finish"}', attempt=attempt)

    def _following(self, attempt: int) -> str:
        before = self._next
        self._next = (attempt, before[1] + 1 if before and before[0] == attempt else 0)
        return format_id(self._next)
