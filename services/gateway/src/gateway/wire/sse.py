"""An open stream as an HTTP response.

Guarantees: the headers and frames of the protocol page; a body that ends cleanly has shown a terminal entry and
`[DONE]`; whatever else ends a stream raises StreamBroken, so that the server leaves the body unterminated and no client
takes it for an end.
"""

import random
from collections.abc import Mapping

from starlette.types import Receive, Scope, Send

from gateway.fanout.subscriber import Subscription

HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
}
# What the AI SDK's clients look for, on the streams that are in its protocol.
UI_MESSAGES = {"x-vercel-ai-ui-message-stream": "v1"}
# After how long a browser whose connection broke comes back: not all of them at the same moment.
RETRY_MS = (500, 3000)


class EventStream:
    """Head and body can be sent apart (`raw_headers`, `run`), or together by calling it as an ASGI application.

    Apart is cheaper: nothing of the application need stay alive around an open stream.
    """

    __slots__ = ("_greeting", "_headers", "_subscription")

    def __init__(
        self, subscription: Subscription, *, headers: Mapping[str, str] | None = None, greeting: bytes = b""
    ) -> None:
        """`greeting`: whole events that come before those of the stream."""
        self._subscription = subscription
        self._headers = headers or {}
        self._greeting = greeting

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        headers = {**HEADERS, **self._headers}
        return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]

    async def run(self, receive: Receive, send: Send) -> None:
        """Send the body, or raise StreamBroken."""
        subscription = self._subscription
        # The headers are kilobytes, and whoever awaits this may hold the response.
        self._headers = {}
        # Part of the first event's block: some clients take a block that has nothing but this for an event.
        retry = b"retry: %d\n" % random.randint(*RETRY_MS)  # noqa: S311 - jitter, not a secret
        await send({"type": "http.response.body", "body": retry + self._greeting, "more_body": True})
        await subscription.run(receive, send)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await self.run(receive, send)
