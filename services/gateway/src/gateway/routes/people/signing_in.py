"""Signing in and out: at an identity provider, or with a token that is exchanged for a cookie."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field
from starlette.responses import Response

from gateway.api.inputs import In, Params
from gateway.api.models.people import SignedIn
from gateway.api.problems import IdentityProviderUnavailable, SignInFailed, SignInNotSetUp, Unauthenticated
from gateway.callers.caller import Caller
from gateway.callers.sign_in import CALLBACK_PATH, LOGIN_PATH, SignIn
from gateway.routing.table import Call, NoParams, RouteSpec, Success, json_response

_ShortText = Annotated[str, Field(max_length=4000)]


# Where the chat page says what has become of a sign-in.
_REFUSED, _UNAVAILABLE = "/#/sign-in/refused", "/#/sign-in/unavailable"


class LoginParams(Params):
    return_to: Annotated[_ShortText, In("query")] = "/"
    accept: Annotated[str, In("header")] = ""


class SignOutParams(Params):
    cookie: Annotated[str | None, In("header")] = None


class CallbackParams(Params):
    code: Annotated[_ShortText | None, In("query", any_text=True)] = None
    state: Annotated[_ShortText, In("query", any_text=True)] = ""
    cookie: Annotated[str | None, In("header")] = None
    accept: Annotated[str, In("header")] = ""


async def login(call: Call[LoginParams, None]) -> Response:
    try:
        redirect = await _sign_in(call).begin(call.params.return_to)
    except IdentityProviderUnavailable as error:
        return _told_to_people(error, call.params.accept)
    return _redirect(redirect.location, redirect.cookie)


async def callback(call: Call[CallbackParams, None]) -> Response:
    try:
        return await _finish(call)
    except (SignInFailed, IdentityProviderUnavailable) as error:
        return _told_to_people(error, call.params.accept)


async def _finish(call: Call[CallbackParams, None]) -> Response:
    asked = call.params
    sign_in = _sign_in(call)
    if asked.code is None:
        raise SignInFailed("The identity provider did not let you in.")
    user, redirect = await sign_in.finish(asked.code, asked.state, asked.cookie)
    cookies = call.gateway.user_cookies
    return _redirect(redirect.location, redirect.cookie, cookies.set(cookies.lasting(user)))


def _told_to_people(error: SignInFailed | IdentityProviderUnavailable, accept: str) -> Response:
    """Who has come with a browser reads a sentence, and not what programs are told."""
    if "text/html" not in accept:
        raise error
    return _redirect(_REFUSED if isinstance(error, SignInFailed) else _UNAVAILABLE)


async def make_session_cookie(call: Call[NoParams, None]) -> Response:
    caller = call.caller
    if caller.kind != "user":
        raise Unauthenticated("Only a user, by his token, can sign in.")
    cookies = call.gateway.user_cookies
    user = caller if caller.by_cookie else cookies.begun(caller)
    response = json_response(_view(user), 201)
    response.headers.append("set-cookie", cookies.set(user))
    return response


async def sign_out(call: Call[SignOutParams, None]) -> Response:
    user = call.gateway.user_cookies.user(call.params.cookie)
    if user is not None and user.expires_at is not None:
        await call.gateway.signed_out.end(user.user_id, user.expires_at)
    response = Response(status_code=204)
    response.headers.append("set-cookie", call.gateway.user_cookies.clear())
    return response


def _sign_in(call: Call[Any, None]) -> SignIn:
    if call.gateway.sign_in is None:
        raise SignInNotSetUp
    return call.gateway.sign_in


def _redirect(location: str, *cookies: str) -> Response:
    response = Response(status_code=303, headers={"Location": location})
    for cookie in cookies:
        response.headers.append("set-cookie", cookie)
    return response


def _view(user: Caller) -> SignedIn:
    expires_at = datetime.fromtimestamp(user.expires_at, UTC) if user.expires_at is not None else None
    return SignedIn(user_id=user.user_id or "", expires_at=expires_at)


_MOVED = Success("Continue there.", media_type=None)

ROUTES: tuple[RouteSpec[Any, Any], ...] = (
    RouteSpec(
        "GET",
        LOGIN_PATH,
        login,
        "Sign in at the identity provider",
        "Signing in",
        {303: _MOVED},
        LoginParams,
        problems=(SignInNotSetUp, IdentityProviderUnavailable),
        description=(
            "For browsers: they go to the provider, and come back to `return_to`, a path of this service. Who asks for "
            "HTML and cannot be signed in is sent to the page, which says so."
        ),
        people=False,
    ),
    RouteSpec(
        "GET",
        CALLBACK_PATH,
        callback,
        "Come back from the identity provider",
        "Signing in",
        {303: _MOVED},
        CallbackParams,
        problems=(SignInNotSetUp, SignInFailed, IdentityProviderUnavailable),
        people=False,
        description="The page is opened where the person was, with a cookie; or where it says why there is none.",
    ),
    RouteSpec(
        "POST",
        "/api/auth/session",
        make_session_cookie,
        "Exchange a token for a cookie",
        "Signing in",
        {201: Success("The cookie is set, for as long as the token is good.", SignedIn)},
        NoParams,
        description="So that a page need not keep a token where scripts read it, and an EventSource comes in.",
    ),
    RouteSpec(
        "DELETE",
        "/api/auth/session",
        sign_out,
        "Sign out",
        "Signing in",
        {204: Success("The cookie is gone from this browser, and worth nothing elsewhere.", media_type=None)},
        SignOutParams,
        description="Streams that it has opened end, and so do stream tokens that were made by it.",
        people=False,
    ),
)
