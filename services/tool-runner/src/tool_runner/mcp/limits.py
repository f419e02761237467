"""How much an MCP server may say at once, and how a call learns that it said more.

Guarantees: whatever a server sends, no more than MAX_MESSAGE_BYTES of a message (a line of a pipe, a body, an event of
a stream) are kept, and what is compressed is not read.
"""

from collections.abc import AsyncIterator

import httpx2

# Images are in a message, too, although they are no part of the result.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
TOO_LARGE = f"the server answered more than {MAX_MESSAGE_BYTES} bytes"


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
        if not streamed and isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _Bounded(response.stream)
        return response


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MAX_MESSAGE_BYTES
        async for chunk in self._stream:
            left -= len(chunk)
            if left < 0:
                raise _TooLarge(TOO_LARGE)
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
