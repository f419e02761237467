"""One table says all of a route: its parameters, its body, its answers, its problems. Serving and the OpenAPI
document both come from it.

An endpoint gets a `Call`, in which everything is checked already, and answers or raises a problem that its route
declares. Every route of a method GET answers HEAD, too, and every path OPTIONS.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from redis.exceptions import ResponseError
from sluiceway.errors import StoreUnavailable
from sluiceway.process.logs import note, user_hash
from sluiceway.store.database.wall import act_for
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
    HeadTooLarge,
    HostRefused,
    IdentityProviderUnavailable,
    InternalError,
    InvalidApiKey,
    InvalidBody,
    InvalidParameter,
    MalformedJson,
    OriginRefused,
    Overloaded,
    ProblemType,
    ScopeMissing,
    SurroundingsUnsuitable,
    TooManyAtOnce,
    TooManyRequests,
    TooManyValues,
    Unauthenticated,
    UnsupportedMediaType,
)
from gateway.callers.caller import NOBODY, Caller, KeyScope
from gateway.settings import Settings
from gateway.state import Gateway, State

# Ids in the path that a request's log line carries.
_NOTED = ("task_id", "session_id", "operation_id")

P = TypeVar("P", bound=Params)
B = TypeVar("B", bound=BaseModel | Body | None)


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
class Success:
    """A response that is no problem. Without a model its body is described by its media type alone. The model of an
    event stream is that of the JSON in each `data`."""

    description: str
    model: type[BaseModel] | None = None
    media_type: str | None = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RawBody:
    """A body that the endpoint reads itself, as the bytes that come: they are signed, and its head is judged first.

    `model` describes it; whatever the media type says it is JSON. None: any bytes, a file.
    """

    model: type[BaseModel] | None
    max_bytes: Callable[[Settings], int]


@dataclass(frozen=True, slots=True)
class RouteSpec(Generic[P, B]):
    """A method at a path. `problems` are those of the endpoint itself; what its inputs can raise is added.

    Of `body` and `raw_body` there is one or none.
    `people`: users and anonymous people may call it. `scopes`: an API key may that has one of them. Without both it is
    for everybody, and nobody is asked who he is.
    `unsigned`: who sends it may also be told by the endpoint, from the body. `stream_token`: also by `?token=`.
    `plain_text`: JSON may come as text/plain, too. `plain_problems`: a problem is one sentence unless the client asks
    for JSON, see `gateway.api.problems`.
    `greets`: an anonymous person gets his cookie here.
    `any_host`: for probes, which know an address and no name.
    `large`: its answer may be: few are read at once, see `gateway.large_answers`.
    `whole_system`: what it tells or does is not of one organisation: operators and keys of one may not.
    """

    method: str
    path: str
    endpoint: Callable[[Call[P, B]], Awaitable[Response]]
    summary: str
    tag: str
    answers: Mapping[int, Success]
    params: type[P]
    body: type[B] | None = None
    problems: Sequence[ProblemType] = ()
    description: str = ""
    people: bool = True
    scopes: tuple[KeyScope, ...] = ()
    unsigned: bool = False
    raw_body: RawBody | None = None
    plain_text: bool = False
    plain_problems: bool = False
    stream_token: bool = False
    greets: bool = False
    any_host: bool = False
    large: bool = False
    whole_system: bool = False

    @property
    def name(self) -> str:
        return self.endpoint.__name__

    @property
    def body_model(self) -> type[BaseModel] | None:
        model: Any = self.body if self.raw_body is None else self.raw_body.model
        return model  # type: ignore[no-any-return]

    @property
    def all_problems(self) -> tuple[ProblemType, ...]:
        found: list[ProblemType] = [*self.problems, HeadTooLarge, InternalError, Overloaded]
        if not self.any_host:
            found += [HostRefused, TooManyRequests]
        if self.large:
            found.append(TooManyAtOnce)
        if self.method != "GET":
            found.append(OriginRefused)
        if self.asks_who:
            # A key may have to be looked up.
            found += [Unauthenticated, InvalidApiKey, ScopeMissing, StoreUnavailable, SurroundingsUnsuitable]
        if self.people or self.is_for_operators:
            found.append(IdentityProviderUnavailable)
        if self.params.model_fields:
            found.append(InvalidParameter)
        if self.body is not None:
            found += [MalformedJson, InvalidBody, BodyTooLarge, BodyTooSlow, TooManyValues, UnsupportedMediaType]
        if self.raw_body is not None:
            found += [BodyTooSlow]
            found += [MalformedJson, BodyTooLarge, TooManyValues] if self.raw_body.model is not None else []
        return tuple(dict.fromkeys(found))

    @property
    def is_for_operators(self) -> bool:
        return any(scope.startswith("ops:") for scope in self.scopes)

    @property
    def asks_who(self) -> bool:
        return self.people or bool(self.scopes)

    async def handle(self, request: Request[State]) -> Response:
        gateway = request.state["gateway"]
        if self.asks_who and self._refuses(gateway):
            raise SurroundingsUnsuitable
        caller = NOBODY if self.any_host else await self._admit(gateway, request)
        self._stay_behind_the_wall(gateway, caller)
        note(user=user_hash(caller.user_id))
        params = read_params(self.params, request)
        note(**{name: getattr(params, name, None) for name in _NOTED})
        # Of those who are nobody: webhooks of an operation are one sender's.
        with gateway.rooms.open(caller.counted_as or request.url.path) as room:
            body = await self._read_body(gateway.settings, request, room)
            call = Call(gateway, caller, params, body, request.method)
            try:
                return await self._answer(gateway, call)
            except ResponseError as error:
                if gateway.surroundings.problems:
                    raise SurroundingsUnsuitable from error
                raise

    async def _answer(self, gateway: Gateway, call: Call[P, B]) -> Response:
        if not self.large:
            return await self.endpoint(call)
        async with gateway.large_answers.turn(call.caller.counted_as):
            return await self.endpoint(call)

    def _refuses(self, gateway: Gateway) -> bool:
        """Operators look at what is wrong with Redis over these routes, as far as it answers. Who they are, and the
        wall between organisations, is in Postgres."""
        problems = gateway.surroundings.problems
        return "postgres" in problems if self.is_for_operators else bool(problems)

    def _stay_behind_the_wall(self, gateway: Gateway, caller: Caller) -> None:
        """Until the answer has ended: a request is a context of its own. Operators and keys of no organisation act for
        all."""
        if gateway.settings.jwt_org_claim is None:
            return
        if caller.org or (caller.kind in ("user", "anonymous") and not self.is_for_operators):
            act_for(caller.org)

    async def _admit(self, gateway: Gateway, request: Request[State]) -> Caller:
        """Who calls, for a page that may, and within his limits."""
        gateway.origins.check(request.method, request.headers)
        if not gateway.limits.on:
            return await self._identify(gateway, request)
        address = _address(gateway, request)
        told = await gateway.limits.of_address(address)
        caller = replace(await self._identify(gateway, request), address=address)
        told = await gateway.limits.of_caller(caller) or told
        if caller.cookie is not None and request.method not in ("GET", "HEAD"):
            await gateway.limits.of_newcomer(address)
            _tell(request, "set-cookie", caller.cookie)
        if told is not None:
            _tell(request, "ratelimit-limit", str(told.limit))
            _tell(request, "ratelimit-remaining", str(told.remaining))
            _tell(request, "ratelimit-reset", str(told.seconds))
        return caller

    async def _identify(self, gateway: Gateway, request: Request[State]) -> Caller:
        if not self.asks_who:
            if self.greets:
                _greet(gateway, request)
            return NOBODY
        service = await gateway.authenticator.by_key(request.headers)
        if service is not None:
            if not service.scopes.intersection(self.scopes):
                raise ScopeMissing(" or ".join(self.scopes))
            self._check_whole(service)
            return service
        if not self.people:
            if self.unsigned:
                return NOBODY
            if roles := frozenset().union(*map(gateway.settings.operator_roles, self.scopes)):
                return await self._operator(gateway, request, roles)
            raise Unauthenticated("This needs an x-api-key.")
        token = request.query_params.get("token") if self.stream_token else None
        if token is not None:
            return gateway.stream_tokens.check(token, request.path_params["task_id"])
        return await gateway.authenticator.identify(request.headers)

    async def _operator(self, gateway: Gateway, request: Request[State], roles: frozenset[str]) -> Caller:
        """A user whose token has one of these roles."""
        caller = await gateway.authenticator.identify(request.headers)
        if caller.kind != "user":
            raise Unauthenticated("This needs an x-api-key, or a user who is an operator.")
        if not caller.roles & roles:
            raise ScopeMissing("This needs a role that only operators have.")
        self._check_whole(caller)
        return caller

    def _check_whole(self, caller: Caller) -> None:
        if caller.org and self.whole_system:
            raise ScopeMissing("This is of the whole system: it needs an operator, or a key, of no organisation.")

    async def _read_body(self, settings: Settings, request: Request[State], room: Room) -> Any:
        if self.raw_body is not None:
            return Body(request, room, self.raw_body.max_bytes(settings), settings.body_timeout_seconds)
        model: Any = self.body
        if model is None:
            return None
        body = Body(request, room, settings.max_body_bytes, settings.body_timeout_seconds)
        return await read_body(model, request, body, plain_text=self.plain_text)


def _greet(gateway: Gateway, request: Request[State]) -> None:
    """Before a page asks for several things at once, each of which would find somebody new."""
    cookie = gateway.authenticator.greeting(request.headers)
    if cookie is not None:
        _tell(request, "set-cookie", cookie)


def _tell(request: Request[State], header: str, value: str) -> None:
    """In the answer, also where that is a problem, or a stream, whose head does not pass here."""
    request.scope.setdefault("more_headers", []).append((header.encode(), value.encode()))


def _address(gateway: Gateway, request: Request[State]) -> str | None:
    peer = request.client.host if request.client is not None else None
    # A proxy may add a line of its own behind what the caller sent, instead of more to that line.
    return gateway.addresses.of(peer, ",".join(request.headers.getlist("x-forwarded-for")))


def json_response(model: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(model.model_dump_json(), status, headers, "application/json")


def routes(specs: Sequence[RouteSpec[Any, Any]]) -> list[Route]:
    """One Starlette route a path, so that a wrong method is told all the right ones."""
    ordered = sorted(specs, key=lambda spec: spec.path)
    return [_route(path, tuple(group)) for path, group in groupby(ordered, key=lambda spec: spec.path)]


def _route(path: str, specs: Sequence[RouteSpec[Any, Any]]) -> Route:
    return Route(path, PathEndpoint(path, {spec.method: spec for spec in specs}))


class PathEndpoint:
    """All methods of one path, as an ASGI application."""

    def __init__(self, path: str, by_method: dict[str, RouteSpec[Any, Any]]) -> None:
        self._path = path
        self._by_method = by_method
        self._problems = {method: spec.all_problems for method, spec in by_method.items()}
        self._allowed = ", ".join([*by_method, *(["HEAD"] if "GET" in by_method else []), "OPTIONS"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route_path"] = self._path
        response = await self._respond(Request(scope, receive, send))
        await response(scope, receive, send)

    async def _respond(self, request: Request[State]) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": self._allowed})
        method = "GET" if request.method == "HEAD" else request.method
        spec = self._by_method.get(method)
        if spec is None:
            raise HTTPException(405, headers={"Allow": self._allowed})
        request.scope["problems"] = self._problems[method]
        request.scope["plain_problems"] = spec.plain_problems
        return await spec.handle(request)
