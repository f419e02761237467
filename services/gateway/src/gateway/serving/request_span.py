"""The span of a request, up to the head of its answer. A stream that follows has none: it may last for hours."""

from contextlib import AbstractContextManager, nullcontext

from sluiceway.tracing import names
from sluiceway.tracing.spans import Span, span
from starlette.types import Scope

QUIET_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
"""Probes ask for them, every few seconds: neither the log nor a trace is told."""


def request_span(scope: Scope, caller: str | None) -> AbstractContextManager[Span]:
    """`caller`: the traceparent that it came with."""
    if scope["path"] in QUIET_PATHS:
        return nullcontext(Span())
    return span(scope["method"], "server", {names.HTTP_METHOD: scope["method"]}, parent=caller)


def tell_span(span: Span, scope: Scope, status: int) -> None:
    """What is known at its end. The route's pattern, never the path or the query: those have ids and tokens."""
    route = scope.get("route_path")
    name = f"{scope['method']} {route}" if route is not None else None
    span.set({names.HTTP_ROUTE: route, names.HTTP_STATUS: status}, name=name)
    if status >= 500:
        span.fail(str(scope.get("cause", {}).get("code", status)))
