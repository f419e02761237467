"""Whether a model server that somebody named answers, and has the model: told at once and in one sentence.

Guarantees: it ends within seconds, never fails, and keeps nothing from starting: the server may come later, and
messages wait for it. The key is not told.
"""

import json
import ssl
import time
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse, InvalidURL
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, build_opener, getproxies, proxy_bypass

from sluiceway_local.data_dir import why

TIMEOUT_SECONDS = 3.0
MOST_BYTES = 4_000_000
NAMED = 5  # so many of the models of a server are told
_ALL_THE_SAME = "Everything starts all the same, and answers begin when that is right."


def problem_at(base_url: str, key: str | None, model: str | None = None, headers: str = "") -> str | None:
    """A sentence with the address and what is wrong; None: somebody answers there, who has the model or does not list
    his. `headers`: those of every request, as JSON (MODEL_HEADERS)."""
    said = {"Authorization": f"Bearer {key}"} if key else {}
    wrong = _wrong(f"{base_url.rstrip('/')}/models", said | _parsed(headers), model)
    return f"OPENAI_BASE_URL={base_url} {wrong} {_ALL_THE_SAME}" if wrong is not None else None


def _parsed(headers: str) -> dict[str, str]:
    """What is no such JSON the services refuse, each by itself."""
    try:
        return {str(name): str(value) for name, value in json.loads(headers or "{}").items()}
    except (ValueError, AttributeError):
        return {}


def _wrong(url: str, headers: Mapping[str, str], model: str | None) -> str | None:
    if not url.lower().startswith(("http://", "https://")):
        return "is no address: it begins with http:// or https://."
    try:
        request = Request(url, headers=dict(headers))  # noqa: S310 - see above
        with build_opener().open(request, timeout=TIMEOUT_SECONDS) as answer:
            if answer.url != url:
                return f"sends to another address, which is the one to name: {answer.url.removesuffix('/models')}."
            return _of_body(_body(answer), model)
    except HTTPError as error:
        return _of_status(error.code, _beginning(error))
    except URLError as error:
        return _of_reason(error.reason, url)
    except TimeoutError:
        return f"does not answer within {TIMEOUT_SECONDS:.0f} s{_way(url)}."
    except (InvalidURL, ValueError) as error:
        return f"is no address: {error}."
    except (OSError, HTTPException) as error:
        return f"cannot be asked{_way(url)}: {_reason(error)}. {_perhaps_tls(url)}".rstrip()


def _body(answer: HTTPResponse) -> bytes:
    """What comes of it in time."""
    ends, body = time.monotonic() + TIMEOUT_SECONDS, b""
    while len(body) < MOST_BYTES and time.monotonic() < ends and (piece := answer.read1(MOST_BYTES)):
        body += piece
    return body


def _beginning(error: HTTPError) -> bytes:
    try:
        return bytes(error.read1(MOST_BYTES))
    except (OSError, HTTPException):
        return b""


def _of_body(body: bytes, model: str | None) -> str | None:
    """Of a list that is not whole nothing is said."""
    if body.lstrip()[:1] == b"<":
        return "answers with a page for people: an address usually ends in /v1."
    try:
        told = json.loads(body)
    except ValueError:
        return None
    names = _names(told.get("data") if isinstance(told, dict) else told)
    if model is None or not names or model in names or f"{model}:latest" in names or f"models/{model}" in names:
        return None
    more = ", …" if len(names) > NAMED else ""
    return f"does not list the model {model}. MODEL is one of {', '.join(names[:NAMED])}{more}."


def _names(models: Any) -> list[str]:
    listed = models if isinstance(models, list) else []
    return [one["id"] for one in listed if isinstance(one, dict) and isinstance(one.get("id"), str)]


def _of_status(status: int, body: bytes) -> str | None:
    """Not every server lists its models: what is no sign of a wrong address or key is none of a fault."""
    if status in (401, 403):
        return f"refuses the key ({status}): OPENAI_API_KEY has to be one for this server."
    if status == 404:
        return "answers, and has no /models (404): an address usually ends in /v1."
    if status == 400 and b"https" in body.lower():
        return "begins with http://, and the server wants https://."
    return f"answers with an error ({status})." if status >= 500 else None


def _of_reason(reason: object, url: str) -> str:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return (
            f"shows a certificate that is not trusted ({reason.verify_message}): SSL_CERT_FILE=… names a file with the "
            "certificates to trust."
        )
    if isinstance(reason, ssl.SSLError):
        return "begins with https://, and the server does not speak TLS: it may be http://."
    return f"cannot be reached{_way(url)}: {_reason(reason)}."


def _way(url: str) -> str:
    """A proxy that the environment names may be what is wrong. It may have a password, which is not told."""
    address = urlsplit(url)
    proxy = getproxies().get(address.scheme)
    if proxy is None or proxy_bypass(address.netloc):
        return ""
    return f" through the proxy {proxy.rpartition('@')[2].removeprefix('http://')} ({address.scheme}_proxy)"


def _perhaps_tls(url: str) -> str:
    return "It may want https://." if url.lower().startswith("http://") else ""


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT_SECONDS:.0f} s"
    return why(error) if isinstance(error, OSError) else str(error)
