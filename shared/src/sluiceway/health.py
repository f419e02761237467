"""Health endpoints of the services that speak no HTTP otherwise: GET /healthz and /readyz.

`/healthz` answers for this process alone (its event loop turns), and never asks Redis or Postgres: a liveness probe
that did would restart healthy pods. `/readyz` says whether the process does its work.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Check = Callable[[], Awaitable[dict[str, str]]]
_REQUEST_SECONDS = 5
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 503: "Service Unavailable"}


class HealthServer:
    """A few lines of HTTP/1.1, GET only, one request a connection."""

    def __init__(self, host: str, port: int, problems: Check) -> None:
        """`problems` answers what keeps the process from its work, by name; nothing: ready."""
        self._host = host
        self._port = port
        self._problems = problems

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[int]:
        """Listen; yields the port, which was chosen by the system when 0 was asked for."""
        server = await asyncio.start_server(self._answer, self._host, self._port)
        try:
            yield int(server.sockets[0].getsockname()[1])
        finally:
            server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                status, body = await self._respond(head)
                payload = json.dumps(body).encode()
                writer.write(
                    f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: application/json\r\n"
                    f"content-length: {len(payload)}\r\nconnection: close\r\n\r\n".encode()
                )
                writer.write(payload)
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a prober that went away or speaks something else
        finally:
            writer.close()

    async def _respond(self, head: bytes) -> tuple[int, dict[str, object]]:
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or words[0] not in (b"GET", b"HEAD"):
            return 400, {"status": "GET only"}
        match words[1].partition(b"?")[0]:
            case b"/healthz":
                return 200, {"status": "ok"}
            case b"/readyz":
                problems = await self._problems()
                return (503, {"status": "not ready", "problems": problems}) if problems else (200, {"status": "ready"})
            case _:
                return 404, {"status": "not found"}
