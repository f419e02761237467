"""uvicorn's HTTP/1.1 over httptools, with bounds on a request's head.

httptools takes a head of any length at any speed. Here a head is at most MAX_HEAD_BYTES (431) and must be complete
HEAD_TIMEOUT_SECONDS after it began, so that nobody holds memory or a connection by never finishing a header. What is
not HTTP at all is answered as problem+json, too.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway.api.problems import MEDIA_TYPE, HeadTooLarge, MalformedRequest, Problem, problem_response

MAX_HEAD_BYTES = 32 * 1024
HEAD_TIMEOUT_SECONDS = 20
# Closing while bytes are still coming resets the connection, and the client may lose the answer: so they are read and
# thrown away, for this long.
_LINGER_SECONDS = 2


class _HeadTooLarge(Exception):
    """Raised through the parser, which stops at it."""


class BoundedHeadProtocol(HttpToolsProtocol):
    """One connection. The added state is in slots: one more name in the dictionary would cost a kilobyte each."""

    __slots__ = ("_head_bytes", "_head_complete", "_head_timer", "_refused")

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_bytes = 0
        self._head_complete = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        # Not part of ASGI: the way to drop a connection whose client does not read.
        self.scope["abort"] = self.transport.abort  # type: ignore[typeddict-unknown-key]
        self._head_bytes, self._head_complete = 0, False
        self._start_timer()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_complete = True
        self._stop_timer()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        super().data_received(data)
        if not self._head_complete and not self._refused:
            # A header that has not ended yet is in the parser's own buffer, where no callback counts it.
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response("")

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed, and close."""
        problem: Problem = HeadTooLarge() if self._head_bytes > MAX_HEAD_BYTES else MalformedRequest()
        body = bytes(problem_response(problem, "").body)
        head = f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
        self.transport.write(STATUS_LINE[problem.status] + head + body)
        self._refused = True
        self._stop_timer()
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()  # an earlier request's answer is being written, which may not go on after this
            return
        self.transport.write_eof()
        self._head_timer = self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def _count(self, length: int) -> None:
        self._head_bytes += length
        if self._head_bytes > MAX_HEAD_BYTES:
            raise _HeadTooLarge

    def _start_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_SECONDS, self.timeout_keep_alive_handler)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
