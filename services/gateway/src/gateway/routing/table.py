"""One table says all of a route: its parameters, its body, its answers, its problems. Serving and the OpenAPI
document both come from it.

An endpoint gets a `Call`, in which everything is checked already, and answers or raises a problem that its route
declares. Every route of a method GET answers HEAD, too, and every path OPTIONS.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway.api.body import Body, Room
from gateway.api.inputs import Params, read_body, read_params
from gateway.api.problems import (
    BodyTooLarge,
    BodyTooSlow,
    InternalError,
    InvalidApiKey,
    InvalidBody,
    InvalidParameter,
    MalformedJson,
    Overloaded,
    ProblemType,
    TooManyValues,
    Unauthenticated,
    UnsupportedMediaType,
)
from gateway.callers import api_keys
from gateway.callers.authenticator import ANONYMOUS, TRUSTED, Caller
from gateway.settings import Settings
from gateway.state import Gateway, State

P = TypeVar("P", bound=Params)
B = TypeVar("B", bound=BaseModel | Body | None)
# Of a trusted caller: with a route that takes one, it stands for a user.
TakesKey = Literal["ignored", "accepted", "required"]


class NoParams(Params):
    """Of a route that looks at nothing but its body."""


@dataclass(frozen=True, slots=True)
class Call(Generic[P, B]):
    """One request, checked."""

    gateway: Gateway
    caller: Caller
    params: P
    body: B
    method: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that is no problem. Without a model its body is described by its media type alone."""

    description: str
    model: type[BaseModel] | None = None
    media_type: str | None = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RawBody:
    """A body that the endpoint reads itself, as the bytes that come: they are signed, and its head is judged first.

    `model` describes it; whatever the media type says it is JSON.
    """

    model: type[BaseModel]
    max_bytes: Callable[[Settings], int]


@dataclass(frozen=True, slots=True)
class Operation(Generic[P, B]):
    """A method at a path. `problems` are those of the endpoint itself; what its inputs can raise is added.

    Of `body` and `raw_body` there is one or none. `open_to_all`: no user is looked for.
    `plain_problems`: a problem is one sentence unless the client asks for JSON, see `gateway.api.problems`.
    """

    method: str
    path: str
    endpoint: Callable[[Call[P, B]], Awaitable[Response]]
    summary: str
    tag: str
    answers: Mapping[int, Answer]
    params: type[P]
    body: type[B] | None = None
    problems: Sequence[ProblemType] = ()
    description: str = ""
    open_to_all: bool = False
    raw_body: RawBody | None = None
    api_key: TakesKey = "ignored"
    plain_problems: bool = False

    @property
    def name(self) -> str:
        return self.endpoint.__name__

    @property
    def body_model(self) -> type[BaseModel] | None:
        model: Any = self.body if self.raw_body is None else self.raw_body.model
        return model  # type: ignore[no-any-return]

    @property
    def all_problems(self) -> tuple[ProblemType, ...]:
        found: list[ProblemType] = [*self.problems, InternalError, Overloaded]
        if not self.open_to_all or self.api_key == "required":
            found.append(Unauthenticated)
        if self.api_key != "ignored":
            found.append(InvalidApiKey)
        if self.params.model_fields:
            found.append(InvalidParameter)
        if self.body is not None:
            found += [MalformedJson, InvalidBody, BodyTooLarge, BodyTooSlow, TooManyValues, UnsupportedMediaType]
        if self.raw_body is not None:
            found += [MalformedJson, BodyTooLarge, BodyTooSlow, TooManyValues]
        return tuple(dict.fromkeys(found))

    async def handle(self, request: Request[State]) -> Response:
        gateway = request.state["gateway"]
        caller = self._identify(gateway, request)
        params = read_params(self.params, request)
        with gateway.rooms.open() as room:
            body = await self._read_body(gateway.settings, request, room)
            return await self.endpoint(Call(gateway, caller, params, body, request.method))

    def _identify(self, gateway: Gateway, request: Request[State]) -> Caller:
        key = request.headers.get(api_keys.HEADER)
        if self.api_key != "ignored" and key is not None:
            gateway.api_keys.check(key)
            return TRUSTED
        if self.api_key == "required":
            raise Unauthenticated("This needs an x-api-key.")
        return ANONYMOUS if self.open_to_all else gateway.authenticator.identify(request.headers)

    async def _read_body(self, settings: Settings, request: Request[State], room: Room) -> Any:
        if self.raw_body is not None:
            return Body(request, room, self.raw_body.max_bytes(settings), settings.body_timeout_seconds)
        model: Any = self.body
        if model is None:
            return None
        return await read_body(
            model, request, Body(request, room, settings.max_body_bytes, settings.body_timeout_seconds)
        )


def json_response(model: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(model.model_dump_json(), status, headers, "application/json")


def routes(operations: Sequence[Operation[Any, Any]]) -> list[Route]:
    """One Starlette route a path, so that a wrong method is told all the right ones."""
    ordered = sorted(operations, key=lambda operation: operation.path)
    return [_route(path, tuple(group)) for path, group in groupby(ordered, key=lambda operation: operation.path)]


def _route(path: str, operations: Sequence[Operation[Any, Any]]) -> Route:
    return Route(path, PathEndpoint(path, {operation.method: operation for operation in operations}))


class PathEndpoint:
    """All methods of one path, as an ASGI application."""

    def __init__(self, path: str, by_method: dict[str, Operation[Any, Any]]) -> None:
        self._path = path
        self._by_method = by_method
        self._problems = {method: operation.all_problems for method, operation in by_method.items()}
        self._allowed = ", ".join([*by_method, *(["HEAD"] if "GET" in by_method else []), "OPTIONS"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route_path"] = self._path
        response = await self._respond(Request(scope, receive, send))
        await response(scope, receive, send)

    async def _respond(self, request: Request[State]) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": self._allowed})
        method = "GET" if request.method == "HEAD" else request.method
        operation = self._by_method.get(method)
        if operation is None:
            raise HTTPException(405, headers={"Allow": self._allowed})
        request.scope["problems"] = self._problems[method]
        request.scope["plain_problems"] = operation.plain_problems
        return await operation.handle(request)
