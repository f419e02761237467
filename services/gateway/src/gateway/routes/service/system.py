"""Around the chat: health, configuration, documentation, and the page."""

from importlib.metadata import version
from typing import Annotated, Any, Literal, get_args

from sluiceway.process.metrics import CONTENT_TYPE, exposition
from starlette.datastructures import Headers
from starlette.responses import Response

from gateway.api.inputs import In, Params
from gateway.api.models.messages import Policy
from gateway.api.models.service import Health, Limits, PublicConfig, Readiness
from gateway.callers.sign_in import LOGIN_PATH
from gateway.routes.service import pages, readiness
from gateway.routing.table import Call, NoParams, RouteSpec, Success, json_response

VERSION = version("sluiceway-gateway")


class ReadyParams(Params):
    scope: Annotated[Literal["system", "gateway"], In("query")] = "system"


class PageParams(Params):
    accept_encoding: Annotated[str, In("header", "Accept-Encoding")] = ""
    if_none_match: Annotated[str, In("header", "If-None-Match")] = ""

    def headers(self) -> Headers:
        return Headers({"accept-encoding": self.accept_encoding, "if-none-match": self.if_none_match})


async def healthz(call: Call[NoParams, None]) -> Response:
    return json_response(Health())


async def readyz(call: Call[ReadyParams, None]) -> Response:
    look = readiness.of_process if call.params.scope == "gateway" else readiness.of_system
    found = await look(call.gateway)
    return json_response(found, 200 if found.status == "ready" else 503)


async def metrics(call: Call[NoParams, None]) -> Response:
    await call.gateway.queues.refresh()
    return Response(exposition(call.gateway.metrics.registry), headers={"content-type": CONTENT_TYPE})


async def config(call: Call[NoParams, None]) -> Response:
    settings, authenticator = call.gateway.settings, call.gateway.authenticator
    return json_response(
        PublicConfig(
            version=VERSION,
            auth=authenticator.mode,
            auth_required=authenticator.required,
            sign_in_url=LOGIN_PATH if call.gateway.sign_in is not None else None,
            models=list(settings.known_models),
            default_model=settings.model,
            share_links=settings.share_links,
            suggestions=list(settings.suggestions),
            policies=list(get_args(Policy)),
            protocols=[6, 7],
            file_types=list(settings.file_types) if settings.files_url else [],
            limits=Limits.model_validate(settings, from_attributes=True),
            model_windows=dict(await call.gateway.windows.known()),
            heartbeat_seconds=settings.heartbeat_seconds,
            replay_seconds=settings.replay_seconds,
            retention_seconds=settings.retention_seconds,
        )
    )


async def chat_page(call: Call[PageParams, None]) -> Response:
    return pages.chat_page(call.params.headers())


async def operations_page(call: Call[PageParams, None]) -> Response:
    return pages.operations_page(call.params.headers())


ROUTES: tuple[RouteSpec[Any, Any], ...] = (
    RouteSpec(
        "GET",
        "/healthz",
        healthz,
        "Whether this process lives",
        "System",
        {200: Success("It does. Nobody else was asked.", Health)},
        NoParams,
        people=False,
        any_host=True,
        description="For a liveness probe: it asks nothing of Redis or Postgres.",
    ),
    RouteSpec(
        "GET",
        "/readyz",
        readyz,
        "Whether a message would be accepted and answered",
        "System",
        {
            200: Success("It would.", Readiness),
            503: Success("It would not; the checks say why.", Readiness),
        },
        ReadyParams,
        people=False,
        any_host=True,
        description="With `scope=gateway` only this process is asked, as a load balancer should.",
    ),
    RouteSpec(
        "GET",
        "/metrics",
        metrics,
        "What this process counts",
        "System",
        {200: Success("The text format of Prometheus.", media_type="text/plain")},
        NoParams,
        people=False,
        any_host=True,
        description="For Prometheus, inside the cluster: do not route it from outside. It names no id and no user.",
    ),
    RouteSpec(
        "GET",
        "/config",
        config,
        "What a client may want to know before it asks",
        "System",
        {200: Success("The limits and choices of this service.", PublicConfig)},
        NoParams,
        people=False,
        description="How people sign in, which models and files there are, and all limits.",
    ),
    RouteSpec(
        "GET",
        "/",
        chat_page,
        "The chat page",
        "System",
        {200: Success("A page.", media_type="text/html"), 304: Success("It has not changed.", media_type=None)},
        PageParams,
        people=False,
        greets=True,
        description="The files that it asks for are below `/static`.",
    ),
    RouteSpec(
        "GET",
        "/ops",
        operations_page,
        "The page for operators",
        "System",
        {200: Success("A page.", media_type="text/html"), 304: Success("It has not changed.", media_type=None)},
        PageParams,
        people=False,
        description="What it shows it asks `/api/ops` for, with a key or as a user who is an operator.",
    ),
)
