"""uvicorn's HTTP/1.1 over httptools, with connections that end.

Guarantees: a request's head has at most MAX_HEAD_BYTES (431) and is complete `head_timeout_seconds` after it began; a
connection on which no request is served closes after the keep-alive, or `head_timeout_seconds` after the first stray
byte that follows an answer, whatever trickles in; one whose answer was sent before its body had come is closed; one
that takes nothing of what is written for `write_timeout_seconds` is cut, and so is one that was closed and takes
nothing; at most WRITE_BUFFER_BYTES and one piece wait in a connection; a body is read when its request asks for it, and
what has come before that is bounded for all connections together; so many connections are open at once (room.py). A
head that says twice who calls, which host is meant or how long its body is, or how in a way that is not HTTP/1.1's, is
refused before its request begins; a body that breaks its own framing is answered 400 at once, unless its request has
begun to answer. What is not HTTP at all is answered as problem+json, too. What follows a whole request and is none ends
the connection after that one's answer; of requests that are sent without waiting for answers _MOST_PIPELINED wait, and
the connection ends after these. A trailer is no header: proxies that look at a head, or write into it, do not look
there.
"""

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway.api.problems import HeadTooLarge, MalformedRequest, Overloaded, Problem, problem_response
from gateway.serving.heads import refuse_ambiguous
from gateway.serving.room import Room
from gateway.serving.unread import UnreadBodies
from gateway.settings import Settings

MAX_HEAD_BYTES = 32 * 1024
WRITE_BUFFER_BYTES = 64 * 1024
# Each that waits costs some kilobytes, and one read may bring thousands.
_MOST_PIPELINED = 16
# Closing while bytes are still coming resets the connection, and the client may lose the answer: so they are read and
# thrown away, for this long.
_LINGER_SECONDS = 2
_MOST_THROWN_AWAY_BYTES = 1024 * 1024


class _HeadTooLarge(Exception):
    """Raised through the parser, which stops at it."""


class _TooManyPipelined(Exception):
    """The same."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection. The added state is in slots: one more name in the dictionary would cost a kilobyte each.

    It stands between a request and its transport, so that an answer's end can wait for the rest of a body.
    """

    __slots__ = ("_deaf", "_head_bytes", "_head_complete", "_refused", "_timer", "_write_timer")
    head_timeout_seconds: ClassVar[float] = 20
    write_timeout_seconds: ClassVar[float] = 45
    unread_bodies: ClassVar[UnreadBodies] = UnreadBodies(16 * 1024 * 1024)
    room: ClassVar[Room] = Room(0, 0)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_bytes = 0
        self._head_complete = False
        # At most one of them runs: for the head, or for what comes after a refusal.
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._refused = False
        # The answer that is on its way is the last one.
        self._deaf = False

    @classmethod
    def bounded_by(cls, settings: Settings) -> "type[BoundedProtocol]":
        bounds = {
            "head_timeout_seconds": settings.head_timeout_seconds,
            "write_timeout_seconds": settings.write_timeout_seconds,
            "unread_bodies": UnreadBodies(settings.max_bodies_bytes),
            "room": Room(settings.max_connections, settings.max_connections_per_address),
        }
        return type(cls.__name__, (cls,), {"__slots__": (), **bounds})

    # The connection.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        if not self.room.enter(self, self.client[0] if self.client else None):
            self._answer(Overloaded())
            self._refused = True
            transport.close()
            return
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stop_write_timer()
        self.unread_bodies.forget(self)
        self.room.leave(self)
        super().connection_lost(exc)
        # Nothing may lead back here: what leads in a circle is freed by the collector only, which seldom runs.
        if self.cycle is not None:
            self.cycle.transport = self.transport
            self.scope.pop("unread", None)  # type: ignore[typeddict-item]

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._deaf:
            self._head_bytes += len(data)
            if self._head_bytes > _MOST_THROWN_AWAY_BYTES:
                self.transport.abort()
            return
        super().data_received(data)
        if self._refused or self.transport.is_closing():
            return
        if not self._head_complete:
            # A header that has not ended yet is in the parser's own buffer, where no callback counts it.
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response("")
                return
        if self._body_is_coming():
            self._hold_back()
        if self._is_idle() and self.timeout_keep_alive_task is None:
            # Not even a request's first line: uvicorn has stopped its own timer at the first byte.
            self._start_head_timer()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self.write_timeout_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_write_timer()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        self._close_or_cut()

    # The request.

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= _MOST_PIPELINED:
            raise _TooManyPipelined
        super().on_message_begin()
        # Not part of ASGI: the way to drop a connection whose client does not read, and whether all of it has come.
        self.scope["abort"] = self.transport.abort  # type: ignore[typeddict-unknown-key]
        self.scope["unread"] = self._body_is_coming  # type: ignore[typeddict-unknown-key]
        self._head_bytes, self._head_complete = 0, False
        self._start_head_timer()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        if not self._head_complete:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        refuse_ambiguous(self.url, self.headers, self.parser.get_http_version())
        self._head_complete = True
        self._stop_timer()
        self.room.asks(self)
        super().on_headers_complete()
        self.cycle.transport = self  # type: ignore[assignment]

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._is_idle():
            self.room.rests(self)

    def cut(self) -> None:
        """Others need the room more."""
        self._refused = True
        self.transport.abort()

    # The transport, as a request sees it.

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def is_closing(self) -> bool:
        return self._refused or self.transport.is_closing()

    def close(self) -> None:
        if self._body_is_coming():
            self._linger()
        else:
            self.transport.close()
            self._cut_later(self.write_timeout_seconds)

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed, and close."""
        problem: Problem = HeadTooLarge() if self._head_bytes > MAX_HEAD_BYTES else MalformedRequest()
        if self._is_idle():
            self._answer(problem)
            self._linger()
        elif self._body_is_coming():
            self._refuse_body(problem)
        elif self.cycle.response_started or self.cycle.more_body:
            self._refused = True
            self.transport.close()
            self._cut_later(_LINGER_SECONDS)
        else:
            # Requests that are whole may be answered. The last one's length was likely told in the wrong unit.
            self._deaf = True
            self.cycle.keep_alive = False

    def _hold_back(self) -> None:
        """Read on when the request asks for more (`receive` does so), and keep only so much until then."""
        self.flow.pause_reading()
        if not self.unread_bodies.note(self):
            self._refuse_body(Overloaded())

    def unread_bytes(self) -> int:
        return 0 if self.cycle is None else len(self.cycle.body)

    def _refuse_body(self, problem: Problem) -> None:
        """The request learns that its client is gone; the client, if nothing was said yet, what is the matter."""
        cycle = self.cycle
        cycle.body = bytearray()
        cycle.disconnected = True
        cycle.message_event.set()
        if cycle.response_started or self.pipeline:
            self.transport.abort()
        else:
            self._answer(problem)
            self._linger()

    def _answer(self, problem: Problem) -> None:
        """Say it without a request, and that the connection ends."""
        response = problem_response(problem, "")
        headers = [*response.raw_headers, (b"connection", b"close")]
        head = b"".join([b"%b: %b\r\n" % header for header in headers])
        self.transport.write(STATUS_LINE[problem.status] + head + b"\r\n" + bytes(response.body))

    def _linger(self) -> None:
        """The last was said. Read and throw away what still comes, for a while, then close."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._cut_later(_LINGER_SECONDS)

    def _body_is_coming(self) -> bool:
        """Whether the request that is answered has not come whole. The one before a pipelined request has."""
        return self.cycle is not None and not self.pipeline and self.cycle.more_body

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _count(self, length: int) -> None:
        self._head_bytes += length
        if self._head_bytes > MAX_HEAD_BYTES:
            raise _HeadTooLarge

    def _start_head_timer(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.head_timeout_seconds, self._close_or_cut)

    def _cut_later(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self._close_or_cut)

    def _close_or_cut(self) -> None:
        """A closed connection waits for ever until its client has read what was written."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        elif not self.transport.is_closing():
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
