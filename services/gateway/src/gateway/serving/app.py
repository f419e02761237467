"""The ASGI application: the route table, the pages, and what surrounds them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from gateway.api.problems import CODE_HEADER, HANDLERS
from gateway.routes import ops
from gateway.routes.files import files
from gateway.routes.operations import agents, jobs, operations, tools, webhooks
from gateway.routes.people import people, person_events, signing_in, understanding, usage
from gateway.routes.service import stream_probe, system
from gateway.routes.service.pages import PageFiles
from gateway.routes.sessions import branches, feedback, finding, sessions, shares
from gateway.routes.turns import aisdk, answers, tasks, turns
from gateway.routes.turns.accepting import RUN_ID_HEADER, STREAM_ID_HEADER
from gateway.routing.documentation import Documentation
from gateway.routing.table import routes
from gateway.serving.middleware import Cors, Edge
from gateway.state import Gateway, State

_ROUTES = (
    *sessions.ROUTES,
    *turns.ROUTES,
    *tasks.ROUTES,
    *answers.ROUTES,
    *tools.ROUTES,
    *usage.ROUTES,
    *branches.ROUTES,
    *feedback.ROUTES,
    *shares.ROUTES,
    *finding.ROUTES,
    *understanding.ROUTES,
    *aisdk.ROUTES,
    *files.ROUTES,
    *jobs.ROUTES,
    *agents.ROUTES,
    *operations.ROUTES,
    *people.ROUTES,
    *person_events.ROUTES,
    *webhooks.ROUTES,
    *ops.ROUTES,
    *stream_probe.ROUTES,
    *signing_in.ROUTES,
    *system.ROUTES,
)
_READABLE_ELSEWHERE = (
    "location",
    "retry-after",
    "x-request-id",
    CODE_HEADER,
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
    RUN_ID_HEADER,
    STREAM_ID_HEADER,
    "x-vercel-ai-ui-message-stream",
)
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

    documentation = Documentation(_ROUTES, system.VERSION, gateway.settings)
    starlette = Starlette(
        routes=[*routes(documentation.specs), Mount("/static", PageFiles())],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    # One URL for one thing: a path with a slash too many is not found, rather than redirected.
    starlette.router.redirect_slashes = False
    app = _with_cors(starlette, gateway.settings.cors_origins)
    return Edge(app, gateway.metrics, gateway.settings.max_answers_bytes)


def _with_cors(app: ASGIApp, origins: tuple[str, ...]) -> ASGIApp:
    """Around everything, so that a page elsewhere can read also what went wrong."""
    if not origins:
        return app
    return Cors(
        app,
        allow_origins=origins,
        allow_methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
        allow_headers=_SENT_FROM_ELSEWHERE,
        expose_headers=_READABLE_ELSEWHERE,
    )
