"""The faults of a request, before its answer begins: each exception of SDK and transport as one ModelError."""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import aiohttp
import httpx2
import openai

from sluiceway_llm.calling.retry_after import retry_after_seconds
from sluiceway_llm.calling.whole_bodies import MAX_ERROR_BYTES
from sluiceway_llm.clean_text import label_of
from sluiceway_llm.model_errors import (
    ModelDropped,
    ModelError,
    ModelRejected,
    ModelTimeout,
    ModelUnavailable,
    ModelWrongAddress,
    error_of_status,
)
from sluiceway_llm.reading.loose_json import NotJson, loose_values

TRANSPORT_ERRORS = (httpx2.HTTPError, httpx2.InvalidURL, aiohttp.ClientError, OSError)
_REQUEST_IDS = ("x-request-id", "request-id", "apim-request-id", "x-amzn-requestid", "cf-ray")


@contextmanager
def as_model_errors(secret: str) -> Iterator[None]:
    """Whatever SDK and transport raise before the stream began, as ModelError. No error says the `secret`."""
    try:
        yield
    except ModelError:
        raise
    except openai.APIStatusError as error:
        headers = error.response.headers
        told = error_of_status(error.status_code, content_of(error.response), secret, retry_after_seconds(headers))
        told.request_id = request_id_of(headers)
        raise told from error
    except TimeoutError as error:
        raise ModelTimeout from error
    except httpx2.InvalidURL as error:
        raise ModelWrongAddress from error
    except (openai.APIConnectionError, *TRANSPORT_ERRORS) as error:
        if isinstance(error.__cause__, (httpx2.InvalidURL, httpx2.UnsupportedProtocol)):
            raise ModelWrongAddress from error
        if _was_dropped(error):
            raise ModelDropped from error
        unreached = ModelUnavailable()
        unreached.reached, unreached.reason = False, _reason(error)
        raise unreached from error
    except openai.OpenAIError as error:
        raise ModelRejected from error


def content_of(response: httpx2.Response) -> object:
    """What a response says that was read whole: its JSON, or its text."""
    content = response.content[:MAX_ERROR_BYTES] if response.is_error else response.content
    try:
        values = loose_values(content)
    except NotJson:
        return content.decode("utf-8", "replace")
    return values[0] if len(values) == 1 else values


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """Under which name the server knows of the request, for its operator."""
    return next((label for name in _REQUEST_IDS if (label := label_of(headers.get(name), 100))), None)


def _reason(error: BaseException) -> str:
    """Why there was no connection: what an operator needs, with nothing of the request. What SDK and transports made of
    it is wound around what the system or TLS said."""
    innermost: BaseException = error
    known: BaseException | None = error
    while known is not None:
        if isinstance(known, OSError) and not isinstance(known, aiohttp.ClientError):
            return _words_of(known)
        innermost, known = known, known.__cause__ or known.__context__
    return type(innermost).__name__


def _words_of(error: OSError) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"TLS: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS: {error.reason}"
        case _:
            return error.strerror or type(error).__name__


def _was_dropped(error: BaseException) -> bool:
    """Whether a connection ended before the answer began. SDK and httpx2 each wrap aiohttp's error once."""
    cause = error.__cause__ and error.__cause__.__cause__
    dropped = isinstance(cause, (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError))
    return dropped and not isinstance(cause, aiohttp.ClientConnectorError)
