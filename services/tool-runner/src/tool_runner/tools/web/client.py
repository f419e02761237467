"""Fetching a public web page, for somebody who chose the address and is not trusted.

Guarantees
- Only http and https, without credentials, to addresses that the Guard lets through. Each redirect is looked at in the
  same way; there are at most MAX_REDIRECTS. What was resolved and looked at is what is connected to, with the right
  name in Host and TLS. No proxy of the environment is used, no cookie is kept, nothing of ours is sent along.
- At most `max_bytes` of the body are read, and as many after decompression, which is bounded, too: the rest is cut
  off. What follows the end of what was compressed is not read.
- It all takes at most `seconds`.
"""

import asyncio
import ssl
import zlib
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpcore
import httpx
from sluiceway.process.interim_answers import BoundedBackend

from tool_runner.tools.web.addresses import Guard

MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CONNECT_SECONDS = 10.0
_HEADERS = {
    "user-agent": "Sluiceway-web-fetch/1.0",
    "accept": "text/html, text/*;q=0.9, application/json;q=0.9, application/*+json;q=0.8, */*;q=0.1",
    "accept-encoding": "gzip",
}


class FetchFailed(Exception):
    """The sentence says why, and is for the model."""


@dataclass(frozen=True, slots=True)
class Page:
    """`url`: after redirects. `truncated`: the body was longer."""

    url: str
    status: int
    content_type: str
    charset: str | None
    body: bytes
    truncated: bool


class WebClient:
    """Keeps nothing between fetches."""

    def __init__(self, guard: Guard, *, seconds: float, max_bytes: int) -> None:
        self._guard = guard
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._tls = ssl.create_default_context()

    async def fetch(self, url: str) -> Page:
        """Raises FetchFailed, AddressRefused, NameUnknown."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._follow(url)
        except TimeoutError:
            raise FetchFailed(f"The page did not come within {self._seconds:.0f} seconds.") from None
        except (httpcore.NetworkError, httpcore.TimeoutException, OSError) as error:
            raise FetchFailed(f"The server cannot be reached: {_told(error)}.") from None
        except (httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
            raise FetchFailed(f"The server does not speak HTTP: {_told(error)}.") from None

    async def _follow(self, url: str) -> Page:
        for _ in range(1 + MAX_REDIRECTS):
            answer = await self._get(_checked(url))
            if isinstance(answer, Page):
                return answer
            url = urljoin(url, answer)
        raise FetchFailed(f"The page redirects more than {MAX_REDIRECTS} times.")

    async def _get(self, url: httpx.URL) -> Page | str:
        """A page, or where it is said to be."""
        backend: Any = BoundedBackend(_Pinned(self._guard), httpcore.RemoteProtocolError)
        async with (
            httpcore.AsyncConnectionPool(ssl_context=self._tls, network_backend=backend) as pool,
            pool.stream(
                "GET",
                str(url),
                headers=[("host", url.netloc.decode()), *_HEADERS.items()],
                extensions={"timeout": {"connect": _CONNECT_SECONDS}},
            ) as response,
        ):
            headers = httpx.Headers(response.headers)
            if response.status in _REDIRECTS and "location" in headers:
                return headers["location"]
            return await self._page(url, response, headers)

    async def _page(self, url: httpx.URL, response: httpcore.Response, headers: httpx.Headers) -> Page:
        content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if not _is_text(content_type):
            raise FetchFailed(f"It is {content_type or 'of no stated type'}, and only text and JSON are read.")
        body, truncated = await self._body(response, headers.get("content-encoding", "identity").strip().lower())
        charset = httpx.Response(200, headers={"content-type": headers.get("content-type", "")}).charset_encoding
        return Page(str(url), response.status, content_type, charset, body, truncated)

    async def _body(self, response: httpcore.Response, encoding: str) -> tuple[bytes, bool]:
        decoder = _decoder(encoding)
        body = bytearray()
        came = 0
        stream: Any = response.aiter_stream()
        async with aclosing(stream) as chunks:
            async for chunk in chunks:
                came += len(chunk)
                body += decoder.decode(chunk, self._max_bytes + 1 - len(body))
                if len(body) > self._max_bytes or (came > self._max_bytes and not decoder.ended):
                    return bytes(body[: self._max_bytes]), True
                if decoder.ended:
                    break
        return bytes(body), False


class _Pinned(httpcore.AsyncNetworkBackend):
    """Connects to what the guard has looked at, and to nothing else."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self._guard.addresses(host, port)
        for address in addresses[:-1]:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._network.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        raise httpcore.UnsupportedProtocol("no sockets of this machine")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Plain:
    ended = False

    def decode(self, chunk: bytes, room: int) -> bytes:
        return chunk[:room]


class _Zipped:
    """Never more than asked for, whatever the bytes would become."""

    def __init__(self, window: int) -> None:
        self._zlib = zlib.decompressobj(window)

    @property
    def ended(self) -> bool:
        return self._zlib.eof

    def decode(self, chunk: bytes, room: int) -> bytes:
        try:
            return self._zlib.decompress(self._zlib.unconsumed_tail + chunk, max(1, room))
        except zlib.error:
            raise FetchFailed("Its compression is broken.") from None


def _decoder(encoding: str) -> _Plain | _Zipped:
    match encoding:
        case "identity" | "":
            return _Plain()
        case "gzip" | "x-gzip":
            return _Zipped(16 + zlib.MAX_WBITS)
        case "deflate":
            return _Zipped(zlib.MAX_WBITS)
    raise FetchFailed("It is compressed in a way that was not asked for.")


def _checked(url: str) -> httpx.URL:
    """Raises FetchFailed where it is no address of the web."""
    try:
        parts = urlsplit(url)
        _ = parts.port
        parsed = httpx.URL(url).copy_with(fragment=None)
    except (httpx.InvalidURL, ValueError, UnicodeError):
        raise FetchFailed("This is not a valid URL.") from None
    if parsed.scheme not in ("http", "https"):
        raise FetchFailed("Only http and https addresses are fetched.")
    if not parsed.host:
        raise FetchFailed("The URL names no host.")
    if parsed.userinfo:
        raise FetchFailed("The URL has a user name or a password in it; such addresses are not fetched.")
    return parsed


def _is_text(content_type: str) -> bool:
    kind, _, subtype = content_type.partition("/")
    if kind == "text":
        return True
    return kind == "application" and (
        subtype in ("json", "xml", "xhtml+xml", "javascript", "yaml", "x-yaml", "x-ndjson", "ndjson", "toml")
        or subtype.endswith(("+json", "+xml", "+yaml"))
    )


def _told(error: BaseException) -> str:
    """The kind of error: its text may name addresses."""
    return type(error).__name__
