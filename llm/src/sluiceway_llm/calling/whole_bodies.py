"""Bodies that are read whole before they are looked at: errors, and what is told of the server and its models.

Guarantees: no more than MAX_ERROR_BYTES of an error is read, and MAX_TOLD_BYTES of what was asked for. What is longer
ends there: words of an error are good as far as they go, and JSON without its end tells nothing. What is compressed has
a smaller limit, as it may grow a thousandfold. Answers, which are read as they come, are not touched.
"""

from collections.abc import AsyncIterator

import httpx2

MAX_ERROR_BYTES = 64 * 1024
MAX_TOLD_BYTES = 4 * 1024 * 1024
_MAX_COMPRESSED_BYTES = 16 * 1024
_ANSWERS = ("/chat/completions", "/responses")


async def bounded(response: httpx2.Response) -> None:
    """A hook of the client's, before the body is read."""
    if not response.is_error and any(part in response.request.url.path for part in _ANSWERS):
        return
    most = MAX_ERROR_BYTES if response.is_error else MAX_TOLD_BYTES
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        most = _MAX_COMPRESSED_BYTES
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Beginning(response.stream, most)


class _Beginning(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, most: int) -> None:
        self._stream = stream
        self._left = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk[: self._left]
            self._left -= len(chunk)
            if self._left <= 0:
                return

    async def aclose(self) -> None:
        await self._stream.aclose()
