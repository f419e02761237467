"""A stream as an answer that outlives the stack of middleware it passes through."""

from typing import Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class Stream(Protocol):
    """A response whose head and body are sent apart."""

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]: ...

    async def run(self, receive: Receive, send: Send) -> None:
        """Send the body to its end, or raise to break the connection."""


class Unwound(Response):
    """The head of a stream, which the stack decorates and passes on; the body follows once the stack has returned."""

    status_code = 200

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["unwound"] = self.stream
        await send({"type": "http.response.start", "status": 200, "headers": list(self.stream.raw_headers)})
