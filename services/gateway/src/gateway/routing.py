"""One table says all of a route: its parameters, its body, its answers, its problems. Serving and the OpenAPI
document both come from it.

An endpoint gets a `Call`, in which everything is checked already, and answers or raises a problem that its route
declares. Every route of a method GET answers HEAD, too, and every path OPTIONS.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway.identity import ANONYMOUS, Caller
from gateway.inputs import Params, read_body, read_params
from gateway.problems import (
    BodyTooLarge,
    BodyTooSlow,
    InternalError,
    InvalidBody,
    InvalidParameter,
    MalformedJson,
    ProblemType,
    Unauthenticated,
    UnsupportedMediaType,
)
from gateway.state import Gateway, State

P = TypeVar("P", bound=Params)
B = TypeVar("B", bound=BaseModel | None)


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
class Operation(Generic[P, B]):
    """A method at a path. `problems` are those of the endpoint itself; what its inputs can raise is added."""

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

    @property
    def name(self) -> str:
        return self.endpoint.__name__

    @property
    def all_problems(self) -> tuple[ProblemType, ...]:
        found: list[ProblemType] = [*self.problems, InternalError]
        if not self.open_to_all:
            found.append(Unauthenticated)
        if self.params.model_fields:
            found.append(InvalidParameter)
        if self.body is not None:
            found += [MalformedJson, InvalidBody, BodyTooLarge, BodyTooSlow, UnsupportedMediaType]
        return tuple(dict.fromkeys(found))

    async def handle(self, request: Request[State]) -> Response:
        gateway = request.state["gateway"]
        caller = ANONYMOUS if self.open_to_all else gateway.doorkeeper.identify(request.headers)
        params = read_params(self.params, request)
        body: Any = None
        if self.body is not None:
            settings = gateway.settings
            body = await read_body(self.body, request, settings.max_body_bytes, settings.body_timeout_seconds)
        return await self.endpoint(Call(gateway, caller, params, body, request.method))


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
        return await operation.handle(request)
