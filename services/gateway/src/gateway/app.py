"""The ASGI application: the route table, the pages, and what surrounds them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from gateway import (
    routes_agents,
    routes_aisdk,
    routes_approvals,
    routes_jobs,
    routes_operations,
    routes_sessions,
    routes_system,
    routes_tasks,
    routes_tools,
    routes_turns,
    routes_webhooks,
)
from gateway.accepting import RUN_ID_HEADER
from gateway.documentation import Documentation
from gateway.middleware import Cors, Edge
from gateway.pages import PageFiles
from gateway.problems import HANDLERS
from gateway.routing import routes
from gateway.state import Gateway, State

_OPERATIONS = (
    *routes_sessions.OPERATIONS,
    *routes_turns.OPERATIONS,
    *routes_tasks.OPERATIONS,
    *routes_approvals.OPERATIONS,
    *routes_tools.OPERATIONS,
    *routes_aisdk.OPERATIONS,
    *routes_jobs.OPERATIONS,
    *routes_agents.OPERATIONS,
    *routes_operations.OPERATIONS,
    *routes_webhooks.OPERATIONS,
    *routes_system.OPERATIONS,
)
_READABLE_ELSEWHERE = ("location", "retry-after", "x-request-id", RUN_ID_HEADER, "x-vercel-ai-ui-message-stream")
_SENT_FROM_ELSEWHERE = (
    "authorization",
    "last-event-id",
    "traceparent",
    "user-agent",
    "x-request-id",
    "x-ui-message-stream-version",
)


def create_app(gateway: Gateway) -> ASGIApp:
    """An application over what `gateway` has open; it opens and closes nothing itself."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[State]:
        yield State(gateway=gateway)

    documentation = Documentation(_OPERATIONS, routes_system.VERSION, gateway.settings)
    starlette = Starlette(
        routes=[*routes(documentation.operations), Mount("/static", PageFiles())],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    # One URL for one thing: a path with a slash too many is not found, rather than redirected.
    starlette.router.redirect_slashes = False
    return Edge(_with_cors(starlette, gateway.settings.cors_origins))


def _with_cors(app: ASGIApp, origins: tuple[str, ...]) -> ASGIApp:
    """Around everything, so that a page elsewhere can read also what went wrong."""
    if not origins:
        return app
    return Cors(
        app,
        allow_origins=origins,
        allow_methods=("GET", "POST", "PATCH", "DELETE"),
        allow_headers=_SENT_FROM_ELSEWHERE,
        expose_headers=_READABLE_ELSEWHERE,
    )
