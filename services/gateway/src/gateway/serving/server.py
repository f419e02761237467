"""uvicorn, made to end well.

uvicorn waits for its open connections before it tells anybody that it is ending, and a stream is a connection that
does not end. Here the shutdown first turns readiness off, optionally serves on until load balancers have noticed, then
breaks the open streams, and only then closes. What is still open after the grace period is cut. The exit code of a
process that was asked to end is 0, unless it had to be forced: see process/end_limit.py.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Iterator
from types import FrameType

import uvicorn
from sluiceway.process.end_limit import AFTER_DRAIN_SECONDS, end_within
from sluiceway.process.logs import get_logger
from starlette.types import ASGIApp
from uvicorn.server import HANDLED_SIGNALS

from gateway.drain import Drain
from gateway.fanout.subscriber import StreamBroken
from gateway.serving.protocol import BoundedProtocol
from gateway.settings import Settings


class Server(uvicorn.Server):
    """Serves until SIGTERM or SIGINT, then drains."""

    def __init__(self, app: ASGIApp, settings: Settings, drain: Drain) -> None:
        super().__init__(_uvicorn_config(app, settings))
        self._drain = drain
        self._pre_stop_seconds = settings.pre_stop_seconds
        self._drain_seconds = settings.drain_seconds
        self._hurry = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        get_logger().info("listening", host=host, port=port)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        started = time.monotonic()
        get_logger().info("draining", open_connections=len(self.server_state.connections))
        self._drain.begin()
        await self._serve_on(self._pre_stop_seconds)
        self._drain.break_streams()
        asyncio.get_running_loop().call_later(self._drain_seconds, self._cut_connections)
        await super().shutdown(sockets)
        _ignore_signals()
        get_logger().info("stopped", duration_ms=round((time.monotonic() - started) * 1000))

    async def _serve_on(self, seconds: float) -> None:
        """Serve as before while load balancers take this process off their lists; a second signal ends the wait."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    def _cut_connections(self) -> None:
        """A closed connection still waits until its client has read what was sent; not for ever."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            self._hurry.set()
        else:
            end_within(self._pre_stop_seconds + self._drain_seconds + AFTER_DRAIN_SECONDS)
        super().handle_exit(sig, frame)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn does, but without raising the signal again afterwards, which would be the exit code."""
        loop = asyncio.get_running_loop()
        for number in HANDLED_SIGNALS:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def _ignore_signals() -> None:
    """What is left of the process is quick. The loop takes its handlers along when it closes, and a further SIGTERM
    would then be the exit code."""
    loop = asyncio.get_running_loop()
    for number in HANDLED_SIGNALS:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)


class _BrokenOnPurpose(logging.Filter):
    """uvicorn logs every exception with its traceback; a stream that we broke ourselves is none worth reading."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, (StreamBroken, asyncio.CancelledError))


def _uvicorn_config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    logging.getLogger("uvicorn.error").addFilter(_BrokenOnPurpose())
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=BoundedProtocol.bounded_by(settings),
        loop="none",
        ws="none",
        interface="asgi3",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=4096,
        timeout_keep_alive=settings.keep_alive_seconds,
        # The connections are cut at the end of the grace period; this only catches what outlives even that.
        timeout_graceful_shutdown=settings.drain_seconds + 1,
    )
