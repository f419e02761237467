"""How much an MCP server may say at once, and how a call learns that it said more.

Guarantees: whatever a server sends, no more than MAX_MESSAGE_BYTES of a message (a line of a pipe, a body, an event of
a stream) are kept, and what is compressed is not read. A message of very many small things costs far more than its
bytes, and is not parsed.
"""

from collections.abc import AsyncIterator

import httpx2

# Images are in a message, too, although they are no part of the result.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
# Objects and lists in a message. Each takes some hundred bytes of memory once it is parsed.
MAX_CONTAINERS = 200_000
# The pieces of a result. The library reads each as everything that a piece may be, 0.1 ms each.
MAX_BLOCKS = 2000
TOO_LARGE = f"the server answered more than {MAX_MESSAGE_BYTES} bytes, or too many small things"


class _TooLarge(httpx2.StreamError):
    """The library tells it to the call as an error of parsing, with this text in it."""


class BoundedTransport(httpx2.AsyncHTTPTransport):
    """HTTP, with bodies that have a limit. Streams have one too, of each event, which the library holds."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.headers["accept-encoding"] = "identity"
        response = await super().handle_async_request(request)
        if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
            await response.aclose()
            raise httpx2.RemoteProtocolError("the server compressed an answer, which was not asked for")
        streamed = response.headers.get("content-type", "").lower().startswith("text/event-stream")
        if isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _Events(response.stream) if streamed else _Bounded(response.stream)
        return response


def containers_in(text: bytes) -> int:
    return text.count(b"{") + text.count(b"[")


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left, containers = MAX_MESSAGE_BYTES, MAX_CONTAINERS
        async for chunk in self._stream:
            left -= len(chunk)
            containers -= containers_in(chunk)
            if left < 0 or containers < 0:
                raise _TooLarge(TOO_LARGE)
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Events(_Bounded):
    """A stream of events: the library bounds the bytes of each."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        containers = MAX_CONTAINERS
        async for chunk in self._stream:
            if b"\n\n" in chunk or b"\r\n\r\n" in chunk:
                containers = MAX_CONTAINERS
            containers -= containers_in(chunk)
            if containers < 0:
                raise _TooLarge(TOO_LARGE)
            yield chunk
