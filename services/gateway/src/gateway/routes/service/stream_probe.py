"""A stream that says nothing, for finding out what stands between a gateway and its clients; `sluicewayctl doctor
stream` reads it, and says what is wrong.

First ticks, close to each other, each with its number and when it was sent; then silence but for heartbeats, as in a
turn whose model thinks; then an event `done`.
"""

import asyncio
import json
import time
from typing import Annotated, Any

from pydantic import Field
from starlette.responses import Response
from starlette.types import Receive, Send

from gateway.api.inputs import In, Params
from gateway.api.problems import Draining, TooManyStreams
from gateway.drain import Drain
from gateway.fanout.subscriber import StreamBroken
from gateway.routes.following import EVENT_STREAM
from gateway.routing.table import Call, RouteSpec, Success
from gateway.wire.sse import HEADERS
from gateway.wire.unwound import Unwound

TICKS = 15
TICK_SECONDS = 0.1
_HEARTBEAT = b": heartbeat\n\n"


class ProbeParams(Params):
    """`seconds`: in all."""

    seconds: Annotated[float, Field(ge=2, le=600), In("query")] = 20


class ProbeStream:
    def __init__(self, seconds: float, heartbeat_seconds: float, drain: Drain) -> None:
        self._seconds = seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._drain = drain

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        return [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def run(self, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(_gone(receive), name="probe-client")
        try:
            await self._say(send, gone)
        finally:
            gone.cancel()

    async def _say(self, send: Send, gone: "asyncio.Task[None]") -> None:
        began = time.monotonic()

        async def say(body: bytes, *, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": more})

        def event(**data: float) -> bytes:
            told = data | {"at_ms": round((time.monotonic() - began) * 1000)}
            return b"data: " + json.dumps(told).encode() + b"\n\n"

        for number in range(TICKS):
            await say(event(tick=number, heartbeat_seconds=self._heartbeat_seconds))
            await self._wait(TICK_SECONDS, gone)
        while (left := self._seconds - (time.monotonic() - began)) > 0:
            await self._wait(min(left, self._heartbeat_seconds), gone)
            if left > self._heartbeat_seconds:
                await say(_HEARTBEAT)
        await say(b"event: done\n" + event(), more=False)

    async def _wait(self, seconds: float, gone: "asyncio.Task[None]") -> None:
        """Raises StreamBroken where nobody reads any more, or nobody may."""
        await asyncio.wait((gone,), timeout=seconds)
        if gone.done():
            raise StreamBroken("the client is gone")
        if self._drain.breaking:
            raise StreamBroken("draining")


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def probe_stream(call: Call[ProbeParams, None]) -> Response:
    gateway = call.gateway
    if gateway.drain.breaking:
        raise Draining
    gateway.limits.check_streams(call.caller)
    return Unwound(ProbeStream(call.params.seconds, gateway.settings.heartbeat_seconds, gateway.drain))


ROUTES: tuple[RouteSpec[Any, Any], ...] = (
    RouteSpec(
        "GET",
        # Beside the streams of turns: a proxy may have rules for this place.
        "/api/chat/stream-probe",
        probe_stream,
        "A stream that says nothing, to find out what proxies make of it",
        "Operating",
        {200: Success("Ticks, silence with heartbeats, and `done`.", media_type=EVENT_STREAM)},
        ProbeParams,
        problems=(TooManyStreams, Draining),
        people=False,
        scopes=("ops:look",),
        whole_system=True,
        description="Heartbeats alone, for so many seconds: `sluicewayctl stream` looks through proxies with it.",
    ),
)
