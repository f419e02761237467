"""What surrounds every request: its id, the security headers, one log line, and the unwinding of streams.

A stream stays open for minutes while a gateway holds thousands of them, so what each one keeps alive counts. An
endpoint therefore answers with `Unwound(stream)`: its head passes through the whole stack like any other, then the
stack returns, and only then does the stream run, right under the server, with nothing of the request left but what
the server itself needs.
"""

import re
import secrets
import time
from collections.abc import Mapping
from typing import Any

from sluiceway.process.logs import bound, get_logger
from sluiceway.tracing.spans import is_traceparent, trace_id_of
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api.problems import CorsRefused, problem_response
from gateway.fanout.subscriber import StreamBroken
from gateway.metrics import Metrics
from gateway.serving.outbox import Outbox
from gateway.serving.request_span import QUIET_PATHS, request_span, tell_span
from gateway.wire.unwound import Stream

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
]
_NOT_KEPT = (b"cache-control", b"no-store")
_CLOSED_CONTENT_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


class Cors(CORSMiddleware):
    """Starlette's, with refusals that look like all others."""

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        headers = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        return problem_response(CorsRefused(bytes(response.body).decode()), "", headers)


class Edge:
    """The outermost application. It knows nothing of routes."""

    def __init__(self, app: ASGIApp, metrics: Metrics, most_answer_bytes: int = 64 * 1024 * 1024) -> None:
        self._app = app
        self._metrics = metrics
        self._outbox = Outbox(most_answer_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stream = await self._answer(scope, receive, send)
        if stream is not None:
            _forget(scope)
            await _run(stream, scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> Stream | None:
        """Run the stack until its response is complete or, for a stream, until its head is sent."""
        started = time.perf_counter()
        request_id = _request_id(scope)
        scope["request_id"] = request_id

        async def send_decorated(message: Message) -> None:
            if message["type"] == "http.response.start":
                decorated = _decorated(message["headers"], request_id, scope)
                # A refusal says of which limit, and that is not said again of another.
                said = {name.lower() for name, _ in decorated if name.lower().startswith(b"ratelimit-")}
                more = [one for one in scope.get("more_headers", ()) if one[0] not in said]
                message["headers"] = [*decorated, *more]
            await send(message)

        caller = _traceparent(scope)
        with (
            request_span(scope, caller) as span,
            self._outbox.sending(send_decorated, scope) as sending,
            bound(request_id=request_id, trace_id=trace_id_of(span.traceparent or caller)),
        ):
            try:
                await self._app(scope, receive, sending)
            finally:
                tell_span(span, scope, sending.status)
                self._tell(scope, sending.status, time.perf_counter() - started)
        stream: Stream | None = scope.pop("unwound", None)
        return stream

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        """Of what probes ask for nothing is told."""
        if scope["path"] in QUIET_PATHS:
            return
        route, cause = scope.get("route_path", "unknown"), scope.get("cause", {})
        self._metrics.request(scope["method"], route, status, seconds, cause.get("code"))
        _log(scope, route, status, seconds, cause)


async def _run(stream: Stream, scope: Scope, receive: Receive, send: Send) -> None:
    try:
        await stream.run(receive, send)
    except StreamBroken as error:
        if error.stuck and "abort" in scope:
            # A closed connection waits until its client has read what was sent. This client reads nothing.
            scope["abort"]()
        raise


def _request_id(scope: Scope) -> str:
    """The caller's, when it is one that may stand in a log line; else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text: str = value.decode("latin-1")
            if _REQUEST_ID.fullmatch(text):
                return text
    return f"req_{secrets.token_hex(8)}"


def _traceparent(scope: Scope) -> str | None:
    """The caller's, which the turn continues."""
    told = (value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent")
    return next((text for text in told if is_traceparent(text)), None)


def _decorated(headers: list[tuple[bytes, bytes]], request_id: str, scope: Scope) -> list[tuple[bytes, bytes]]:
    named = {name for name, _ in headers}
    more = [(b"x-request-id", request_id.encode()), *(one for one in _SECURITY_HEADERS if one[0] not in named)]
    if b"content-security-policy" not in named:
        more.append(_CLOSED_CONTENT_POLICY)
    if b"cache-control" not in named:
        # What is private is most of it; what may be kept says so itself.
        more.append(_NOT_KEPT)
    unread = scope.get("unread")
    if unread is not None and unread():
        # The rest of the body would be taken for the next request's head, or has to be waited for.
        more.append((b"connection", b"close"))
    return [*headers, *more]


def _forget(scope: Scope) -> None:
    """Free what the request brought along. The server still looks at the method, and at nothing else."""
    scope["headers"].clear()
    kept: dict[str, Any] = {name: scope[name] for name in ("type", "method", "abort") if name in scope}
    scope.clear()
    scope.update(kept)


def _log(scope: Scope, route: str, status: int, seconds: float, cause: Mapping[str, str]) -> None:
    """`cause`: the code of a problem, and why a part is away. The request's id, its trace and who asks are bound."""
    log = get_logger()
    write = log.debug if scope["method"] in ("GET", "HEAD", "OPTIONS") else log.info
    if status >= 500:
        write = log.warning
    write(
        "http_request",
        method=scope["method"],
        route=route,
        status=status,
        duration_ms=round(seconds * 1000, 1),
        **cause,
        opened_stream="unwound" in scope,
    )
