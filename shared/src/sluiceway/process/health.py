"""What services that speak no HTTP otherwise tell of themselves: GET /healthz, /readyz and /metrics.

`/healthz` answers for this process alone (its event loop turns, and what must go on beside the work goes on), and never
asks Redis or Postgres: a liveness probe that did would restart healthy pods. A loop that stands still answers nothing,
which is a failure too. `/readyz` says whether the process does its work. `/metrics` is what it counts, in
the text format of Prometheus, and asks nobody either.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from sluiceway.process.metrics import CONTENT_TYPE, exposition

# By part, a sentence each.
Check = Callable[[], Mapping[str, str]]
_REQUEST_SECONDS = 5
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 503: "Service Unavailable"}
_JSON = "application/json"


class HealthServer:
    """A few lines of HTTP/1.1, GET only, one request a connection."""

    def __init__(
        self,
        host: str,
        port: int,
        problems: Check,
        *,
        warnings: Check = dict,
        details: Callable[[], dict[str, object]] = dict,
        registry: CollectorRegistry | None = None,
        stuck: Callable[[], str | None] = lambda: None,
    ) -> None:
        """`problems` answers what keeps the process from its work; nothing: ready. `warnings`: what a person should
        look at, and what does not keep it; `details`: what else `/readyz` tells. `registry`: see metrics.py; without
        one there is no `/metrics`. `stuck`: what no waiting mends, so that the process has to be started again."""
        self._host = host
        self._port = port
        self._problems = problems
        self._warnings = warnings
        self._registry = registry
        self._details = details
        self._stuck = stuck

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
                status, content_type, payload = await self._respond(head)
                writer.write(
                    f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: {content_type}\r\n"
                    f"content-length: {len(payload)}\r\nconnection: close\r\n\r\n".encode()
                )
                writer.write(payload)
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a prober that went away or speaks something else
        finally:
            writer.close()

    async def _respond(self, head: bytes) -> tuple[int, str, bytes]:
        """Status, content type and body."""
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or words[0] not in (b"GET", b"HEAD"):
            return _json(400, {"status": "GET only"})
        match words[1].partition(b"?")[0]:
            case b"/healthz":
                stuck = self._stuck()
                return _json(200, {"status": "ok"}) if stuck is None else _json(503, {"status": stuck})
            case b"/readyz":
                return self._readiness()
            case b"/metrics" if self._registry is not None:
                return 200, CONTENT_TYPE, exposition(self._registry)
            case _:
                return _json(404, {"status": "not found"})

    def _readiness(self) -> tuple[int, str, bytes]:
        problems, warnings = dict(self._problems()), dict(self._warnings())
        told: dict[str, object] = {"warnings": warnings} if warnings else {}
        if details := self._details():
            told["details"] = details
        if problems:
            return _json(503, {"status": "not ready", "problems": problems, **told})
        return _json(200, {"status": "ready", **told})


def _json(status: int, body: dict[str, object]) -> tuple[int, str, bytes]:
    return status, _JSON, json.dumps(body).encode()
