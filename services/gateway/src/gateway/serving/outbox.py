"""Answers that are sent whole: in pieces, so that a connection takes them as its client reads, and in bounded number.

Guarantees: of one answer at most a piece more than the connection's buffer is handed over at once; large answers that
are being sent have at most `most_bytes` together, beyond which a request is told to come again (503, Retry-After); a
client that reads more slowly than _SLOWEST_BYTES_PER_SECOND is cut, so that nobody keeps an answer here for long.
"""

import asyncio

from sluiceway.errors import Unavailable
from starlette.types import Message, Scope, Send

from gateway.api.problems import Overloaded, note_cause, problem_response

_PIECE_BYTES = 32 * 1024
_SLOWEST_BYTES_PER_SECOND = 16 * 1024
_PATIENCE_SECONDS = 45


class Outbox:
    """Counts what is being sent by a process."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0

    def sending(self, send: Send, scope: Scope) -> "Sending":
        """For one request."""
        return Sending(self, send, scope)

    def take(self, size: int) -> bool:
        """Whether an answer of so many bytes has room; then it has to be given back. One alone always has."""
        if self._bytes and self._bytes + size > self._most_bytes:
            return False
        self._bytes += size
        return True

    def give_back(self, size: int) -> None:
        self._bytes -= size


class Sending:
    """The way out for one request. Used as `with outbox.sending(...) as sending`."""

    __slots__ = ("_outbox", "_refused", "_scope", "_send", "_taken", "status")

    def __init__(self, outbox: Outbox, send: Send, scope: Scope) -> None:
        self.status = 0
        self._outbox = outbox
        self._send = send
        self._scope = scope
        self._refused = False
        self._taken = 0

    def __enter__(self) -> "Sending":
        return self

    def __exit__(self, *_: object) -> None:
        self._outbox.give_back(self._taken)

    async def __call__(self, message: Message) -> None:
        if self._refused:
            return
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif len(message.get("body", b"")) <= _PIECE_BYTES:
            await self._send(message)
        else:
            await self._send_pieces(message)

    async def _begin(self, message: Message) -> None:
        size = _length(message["headers"])
        if size > _PIECE_BYTES:
            if not self._outbox.take(size):
                await self._refuse(Overloaded())
                return
            self._taken = size
        self.status = message["status"]
        await self._send(message)

    async def _send_pieces(self, message: Message) -> None:
        body, more_body = memoryview(message["body"]), message.get("more_body", False)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS + len(body) / _SLOWEST_BYTES_PER_SECOND):
                for begin in range(0, len(body), _PIECE_BYTES):
                    piece = bytes(body[begin : begin + _PIECE_BYTES])
                    more = more_body or begin + _PIECE_BYTES < len(body)
                    await self._send({"type": "http.response.body", "body": piece, "more_body": more})
        except TimeoutError:
            self._scope["abort"]()
            self._refused = True

    async def _refuse(self, problem: Unavailable) -> None:
        self._refused = True
        note_cause(self._scope, problem)
        response = problem_response(problem, self._scope["request_id"])
        self.status = response.status_code
        headers = response.raw_headers
        await self._send({"type": "http.response.start", "status": self.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": response.body})


def _length(headers: list[tuple[bytes, bytes]]) -> int:
    return next((int(value) for name, value in headers if name == b"content-length" and value.isdigit()), 0)
