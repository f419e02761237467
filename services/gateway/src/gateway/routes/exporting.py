"""Files that are written while they are sent, of a session or of all that somebody has."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send


class Export(StreamingResponse):
    """A few are sent at once: who does not read it keeps a message of any size here. The first page comes before the
    head: a database that is away is a 503, and no file that breaks off."""

    def __init__(
        self,
        turn: AbstractAsyncContextManager[None],
        begin: Callable[[], Awaitable[AsyncIterator[str | bytes] | AsyncIterator[bytes]]],
        headers: Mapping[str, str],
        media_type: str,
    ) -> None:
        super().__init__((), headers=headers, media_type=media_type)
        self._turn, self._begin = turn, begin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._turn:
            self.body_iterator = await self._begin()
            await super().__call__(scope, receive, send)
