"""Errors on the wire: `application/problem+json` (RFC 9457) with a stable `code`.

Every error that a client can see is an exception class with a code and a status, here or in `sluiceway.errors`; the
OpenAPI document lists them by route. Nothing of an unexpected error leaves the process but the request id.

The AI SDK's clients show the whole body of a refusal as `error.message`. On their routes it is one sentence for people,
text/plain; the code stands beside it in the header `x-error-code`. Who accepts application/json, or problem+json, by
name gets that.
"""

import http
import json
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from sluiceway.errors import DomainError, TooManySessions, TooManyTasks, TooManyWebhooks, Unavailable
from sluiceway.process.logs import get_logger
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
SENTENCE_TYPE = "text/plain; charset=utf-8"
CODE_HEADER = "x-error-code"
Problem = DomainError | Unavailable
ProblemType = type[DomainError] | type[Unavailable]


class RouteNotFound(DomainError):
    code, status = "ROUTE_NOT_FOUND", 404
    default_detail = "There is nothing at this path."


class MethodNotAllowed(DomainError):
    code, status = "METHOD_NOT_ALLOWED", 405
    default_detail = "This path does not know that method; the Allow header has those that it knows."


class MalformedRequest(DomainError):
    code, status = "MALFORMED_REQUEST", 400
    default_detail = "This is not a readable HTTP request."


class HeadTooLarge(DomainError):
    code, status = "HEAD_TOO_LARGE", 431
    default_detail = "The request's path and headers are too long."


class CorsRefused(DomainError):
    code, status = "CORS_REFUSED", 400
    default_detail = "Pages of this origin may not ask that."


class MalformedJson(DomainError):
    code, status = "MALFORMED_JSON", 400
    default_detail = "The body is not JSON in UTF-8."


class InvalidParameter(DomainError):
    code, status = "INVALID_PARAMETER", 400
    default_detail = "A parameter of the path, the query or the headers is not valid."


class InvalidCursor(DomainError):
    code, status = "INVALID_CURSOR", 400
    default_detail = "The cursor is not one that this service gave."


class Unauthenticated(DomainError):
    code, status = "UNAUTHENTICATED", 401
    default_detail = "This needs a valid bearer token."


class InvalidApiKey(DomainError):
    code, status = "INVALID_API_KEY", 401
    default_detail = "The x-api-key is not good: sluicewayctl keys makes them, or API_KEYS names them."


class SignInFailed(DomainError):
    code, status = "SIGN_IN_FAILED", 400
    default_detail = "The sign-in did not succeed. Begin it again."


class SignInNotSetUp(DomainError):
    code, status = "SIGN_IN_NOT_SET_UP", 404
    default_detail = "There is no identity provider to sign in at; OIDC_CLIENT_ID and PUBLIC_URL would name one."


class ScopeMissing(DomainError):
    code, status = "SCOPE_MISSING", 403
    default_detail = "This API key does not have the scope that this needs."


class DeadLetterNotFound(DomainError):
    code, status = "DEAD_LETTER_NOT_FOUND", 404
    default_detail = "There is no dead letter with this number."


class NotReplayable(DomainError):
    code, status = "NOT_REPLAYABLE", 409
    default_detail = "Nothing would come of replaying this dead letter."


class WorkerNotFound(DomainError):
    code, status = "WORKER_NOT_FOUND", 404
    default_detail = "There is no such worker now."


class NotRequeueable(DomainError):
    code, status = "NOT_REQUEUEABLE", 409
    default_detail = "This turn needs no other queue entry."


class OriginRefused(DomainError):
    code, status = "ORIGIN_REFUSED", 403
    default_detail = "Pages of another site may not do this here. CORS_ORIGINS names those that may."


class HostRefused(DomainError):
    code, status = "HOST_REFUSED", 421
    default_detail = "This gateway does not go by that name. ALLOWED_HOSTS names those that it goes by."


class TooManyRequests(DomainError):
    """`retry_after_seconds` and `limit` are among its further members, as of the next one."""

    code, status = "TOO_MANY_REQUESTS", 429
    default_detail = "You have asked too often."


class TooManyStreams(DomainError):
    code, status = "TOO_MANY_STREAMS", 429
    default_detail = "You have too many open streams. Close some first."


class TooManyAtOnce(DomainError):
    """`retry_after_seconds` is among its further members."""

    code, status = "TOO_MANY_AT_ONCE", 429
    default_detail = "As many large answers are being sent to you as one may have at once. Read them first."


class InvalidSignature(DomainError):
    code, status = "INVALID_SIGNATURE", 401
    default_detail = "None of the signatures is right for this operation and these bytes."


class InvalidWebhook(DomainError):
    code, status = "INVALID_WEBHOOK", 400
    default_detail = "The body is not what this webhook takes."


class BodyTooSlow(DomainError):
    code, status = "BODY_TOO_SLOW", 408
    default_detail = "The body did not arrive in time."


class BodyTooLarge(DomainError):
    code, status = "BODY_TOO_LARGE", 413
    default_detail = "The body is larger than this service takes."


class TooManyValues(DomainError):
    code, status = "TOO_MANY_VALUES", 413
    default_detail = "The JSON has more values than this service reads."


class NothingToFollow(DomainError):
    code, status = "NOTHING_TO_FOLLOW", 404
    default_detail = "Nothing runs here, and there is nothing more to follow."


class UnsupportedMediaType(DomainError):
    code, status = "UNSUPPORTED_MEDIA_TYPE", 415
    default_detail = "The body must be application/json."


class InvalidBody(DomainError):
    code, status = "INVALID_BODY", 422
    default_detail = "The body is not what this route takes."


class MessageTooLong(DomainError):
    code, status = "MESSAGE_TOO_LONG", 422
    default_detail = "The message is longer than this service takes."


class StorageFull(DomainError):
    """`max_stored_bytes` and `stored_bytes` are among its further members. Waiting changes nothing: hence no 429."""

    code, status = "STORAGE_FULL", 403
    default_detail = "Your conversations take as much room as one may have. Delete some of them to go on."


class ContextTooLong(DomainError):
    code, status = "CONTEXT_TOO_LONG", 422
    default_detail = (
        "The content of `context` is longer than this service takes. Send the part that the message is about."
    )


class MessageExceedsWindow(DomainError):
    code, status = "MESSAGE_EXCEEDS_WINDOW", 422
    default_detail = "The message is longer than the model takes. Send it in parts, or choose another model."


class EmptyMessage(DomainError):
    code, status = "EMPTY_MESSAGE", 422
    default_detail = "The message has no text, and no file."


class SchemaRefused(DomainError):
    code, status = "SCHEMA_REFUSED", 422
    default_detail = "The schema of the answer is not taken: it is none, too large, or refers to another document."


class FilesNotSetUp(DomainError):
    code, status = "FILES_NOT_SET_UP", 422
    default_detail = "This service takes no files; FILES_URL would name a place for them."


class TooManyFiles(DomainError):
    """`max_files_per_message` is among its further members."""

    code, status = "TOO_MANY_FILES", 422
    default_detail = "The message has more files than one may have."


class FileUrlRefused(DomainError):
    code, status = "FILE_URL_REFUSED", 422
    default_detail = (
        "A file of a message is one that was uploaded here, by its address, or a data URL in base64. "
        "What stands at other addresses is not fetched."
    )


class UnsupportedPart(DomainError):
    code, status = "UNSUPPORTED_PART", 422
    default_detail = "The new message has a part that is neither text nor a file, which this service does not take."


class NothingToAnswer(DomainError):
    code, status = "NOTHING_TO_ANSWER", 422
    default_detail = "The last message is not a user's message."


class ApprovalsMissing(DomainError):
    code, status = "APPROVALS_MISSING", 409
    default_detail = "Other tool calls of the same step wait for an answer, too. Those that came are kept."


class SharingOff(DomainError):
    code, status = "SHARING_OFF", 403
    default_detail = "Conversations are not shared by links here."


class ModelNotAllowed(DomainError):
    code, status = "MODEL_NOT_ALLOWED", 422
    default_detail = "This model is not on the list of this service."


class InternalError(DomainError):
    code, status = "INTERNAL_ERROR", 500
    default_detail = "Something went wrong on our side. The request id finds it in the logs."


class IdentityProviderUnavailable(Unavailable):
    code = "IDENTITY_PROVIDER_UNAVAILABLE"
    detail = "The identity provider, whose keys tell whether a token holds, does not answer. Try again in a moment."


class Draining(Unavailable):
    code = "DRAINING"
    detail = "This gateway is shutting down. Try again: another one answers."


class Overloaded(Unavailable):
    code = "OVERLOADED"
    detail = "This gateway has as much to read or to send as it has room for. Try again soon."
    retry_after_seconds = 2


class SurroundingsUnsuitable(Unavailable):
    code = "SURROUNDINGS_UNSUITABLE"
    detail = "What this service stands on is not fit for it; its operator is told what is wrong. Try again later."
    retry_after_seconds = 5


# Those that say when to try again.
PASSING: tuple[ProblemType, ...] = (
    Unavailable,
    TooManyWebhooks,
    TooManyTasks,
    TooManySessions,
    TooManyRequests,
    TooManyStreams,
    TooManyAtOnce,
)


def problem_response(
    problem: Problem, request_id: str, headers: Mapping[str, str] | None = None, errors: Sequence[Any] = ()
) -> Response:
    """The one shape of an error. `errors` are the single faults of a body or of parameters."""
    status = problem.status
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "code": problem.code,
        "detail": problem.detail,
        "request_id": request_id,
    }
    sent = dict(headers or {})
    if isinstance(problem, Unavailable):
        sent["Retry-After"] = str(problem.retry_after_seconds)
    else:
        body.update(problem.extra)
        if "retry_after_seconds" in problem.extra:
            sent["Retry-After"] = str(problem.extra["retry_after_seconds"])
    if isinstance(problem, TooManyRequests) and "limit" in problem.extra:
        told = {"Limit": problem.extra["limit"], "Remaining": 0, "Reset": problem.extra["retry_after_seconds"]}
        sent |= {f"RateLimit-{name}": str(value) for name, value in told.items()}
    if status == 401:
        sent["WWW-Authenticate"] = "Bearer"
    if errors:
        body["errors"] = list(errors)
    return Response(json.dumps(body, ensure_ascii=False), status, sent, MEDIA_TYPE)


class InvalidInput(Exception):
    """A problem together with the single faults that make it up."""

    def __init__(self, problem: DomainError, errors: Sequence[Mapping[str, str]]) -> None:
        self.problem = problem
        self.errors = errors
        super().__init__(problem.code)


def request_id_of(request: Request[Any]) -> str:
    return str(request.scope.get("request_id", ""))


async def on_problem(request: Request[Any], error: DomainError | Unavailable) -> Response:
    _note_undocumented(request, type(error))
    return _answer(request, error)


async def on_invalid_input(request: Request[Any], error: InvalidInput) -> Response:
    _note_undocumented(request, type(error.problem))
    return _answer(request, error.problem, error.errors)


async def on_http_exception(request: Request[Any], error: HTTPException) -> Response:
    """What Starlette itself says: a path or a method that nobody has."""
    known: dict[int, Problem] = {404: RouteNotFound(), 405: MethodNotAllowed()}
    problem = known.get(error.status_code, MalformedRequest())
    return problem_response(problem, request_id_of(request), error.headers)


async def on_unexpected(request: Request[Any], error: Exception) -> Response:
    """The server logs the traceback; the client learns the request id."""
    get_logger().error("request_failed", request_id=request_id_of(request), route=request.scope.get("route_path"))
    return problem_response(InternalError(), request_id_of(request))


async def on_disconnect(request: Request[Any], error: Exception) -> Response:
    """The client went away in the middle of its body; nobody reads this."""
    return problem_response(MalformedRequest(), request_id_of(request))


def _answer(request: Request[Any], problem: Problem, errors: Sequence[Mapping[str, str]] = ()) -> Response:
    note_cause(request.scope, problem)
    response = problem_response(problem, request_id_of(request), errors=errors)
    if not request.scope.get("plain_problems") or "json" in request.headers.get("accept", ""):
        return response
    sentence = " ".join([problem.detail, *(_fault_sentence(fault) for fault in errors[:1])])
    headers = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
    return Response(sentence, problem.status, {**headers, CODE_HEADER: problem.code}, SENTENCE_TYPE)


def note_cause(scope: MutableMapping[str, Any], problem: Problem) -> None:
    """For the request's log line, and the count: the code, and of a part that is away what it said."""
    reason = {"reason": str(problem)} if isinstance(problem, Unavailable) else {}
    scope["cause"] = {"code": problem.code, **reason}


def _fault_sentence(fault: Mapping[str, str]) -> str:
    return f"{fault.get('pointer') or fault.get('name') or 'It'}: {fault['detail']}."


def _note_undocumented(request: Request[Any], problem: ProblemType) -> None:
    """A problem that the OpenAPI document does not list for its route is a defect of ours: still told, and logged. Not
    the path itself: it may have a secret in it, such as the token of a shared link."""
    documented = request.scope.get("problems")
    if documented is not None and not any(issubclass(problem, one) for one in documented):
        get_logger().error("undocumented_problem", code=problem.code, route=request.scope.get("route_path"))


HANDLERS: dict[Any, Any] = {
    DomainError: on_problem,
    Unavailable: on_problem,
    InvalidInput: on_invalid_input,
    HTTPException: on_http_exception,
    ClientDisconnect: on_disconnect,
    Exception: on_unexpected,
}
