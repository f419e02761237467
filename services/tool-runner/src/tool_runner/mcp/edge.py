"""Where the messages of one server come in and go out, before the library has them.

The library starts two tasks for each message that is no answer, and copies a large one four times on its way from a
stream.

Guarantees
- A large answer is read here, once; the library gets a small one, which is replaced when it comes by (see `park`). Its
  place is kept until its call is over.
- Progress is told to its call from here, and a change of the tools to the connection; neither goes further, nor does
  what nobody here listens to. Of what else is no answer at most _MOST_AT_ONCE go further, and as many a minute: of a
  server that floods its client the rest is dropped.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Any

from mcp import types
from mcp.shared.message import SessionMessage
from pydantic_core import from_json
from sluiceway.process.few_lines import Few
from sluiceway.process.shares import Place, Shares

from tool_runner.mcp.calls import Calls
from tool_runner.mcp.fit_text import fit_text
from tool_runner.mcp.listing import ListedTools

_OLDEST = "2024-11-05"
_PARKED = "sluiceway/parked"
_NO_ID = ""
_MOST_AT_ONCE = 60
_TOOLS_CHANGED = "notifications/tools/list_changed"
_PROGRESS = "notifications/progress"
_UNHEARD = frozenset(
    {
        "notifications/message",
        "notifications/prompts/list_changed",
        "notifications/resources/list_changed",
        "notifications/resources/updated",
    }
)
_MAX_ERROR_CHARS = 2000


class Edge:
    """`listing`: of the server's tools. `on_change`: these have changed."""

    def __init__(self, server: str, places: Shares, on_change: Callable[[], None]) -> None:
        self.listing = ListedTools(_OLDEST)
        self._server = server
        self._places = places
        self._on_change = on_change
        self._calls = Calls()
        self._parked: dict[int, tuple[types.JSONRPCResponse, Place]] = {}
        self._next = 0
        self._room = Few(_MOST_AT_ONCE, seconds=60)

    async def enter(self) -> Place:
        """A place for a large message."""
        return await self._places.enter(self._server)

    def sent(self, message: object) -> None:
        if isinstance(message, SessionMessage) and isinstance(message.message, types.JSONRPCRequest):
            self._calls.sent(message.message)

    def received(self, message: object) -> bool:
        """Whether the library shall have it; as it is now."""
        if not isinstance(message, SessionMessage):
            return self._room.take()
        match message.message:
            case types.JSONRPCResponse() as answer:
                self._fetch(answer)
                self.listing.look(message)
                return True
            case types.JSONRPCError():
                return True
            case types.JSONRPCNotification() as notification:
                return self._is_for_the_library(notification) and self._room.take()
            case _:
                return self._room.take()

    async def park(self, text: bytes | bytearray, place: Place) -> bytes:
        """Read a large message, in a thread; what the library is given instead, which is nothing for what is no
        answer."""
        try:
            message = await asyncio.to_thread(message_of, text)
        except ValueError:
            place.leave()
            return b"{"  # it says that it could not be read
        except asyncio.CancelledError:
            place.leave()
            raise
        if isinstance(message, types.JSONRPCResponse):
            self._next += 1
            self._parked[self._next] = message, place
            small: Any = message.model_copy(update={"result": {_PARKED: self._next}})
            return _json(small)
        place.leave()
        if isinstance(message, types.JSONRPCError):
            error = message.error.model_copy(update={"message": message.error.message[:_MAX_ERROR_CHARS], "data": None})
            return _json(message.model_copy(update={"error": error}))
        return b""

    def was_progress(self, text: bytes) -> bool:
        """Whether it is a message of progress, which is told then."""
        try:
            message = message_of(text)
        except ValueError:
            return False
        is_progress = isinstance(message, types.JSONRPCNotification) and message.method == _PROGRESS
        return is_progress and not self.received(SessionMessage(message))

    def keep(self, message: object, place: Place) -> None:
        """A large message is read: its place is its call's."""
        answer = message.message if isinstance(message, SessionMessage) else None
        call = self._calls.get(answer.id) if isinstance(answer, types.JSONRPCResponse) else None
        if call is None or not isinstance(answer, types.JSONRPCResponse):
            place.leave()
        else:
            call.keep(place, answer)

    def end(self) -> None:
        """The connection is over, with what did not come by."""
        while self._parked:
            self._parked.popitem()[1][1].leave()

    def _fetch(self, answer: types.JSONRPCResponse) -> None:
        number = answer.result.get(_PARKED)
        if isinstance(number, int) and number in self._parked:
            parked, place = self._parked.pop(number)
            answer.result = parked.result
            self.keep(SessionMessage(answer), place)

    def _is_for_the_library(self, notification: types.JSONRPCNotification) -> bool:
        if notification.method == _PROGRESS:
            self._tell_progress(notification.params or {})
            return False
        if notification.method == _TOOLS_CHANGED:
            self._on_change()
            return False
        return notification.method not in _UNHEARD

    def _tell_progress(self, params: dict[str, Any]) -> None:
        call = self._calls.get(params.get("progressToken"))
        progress, total, message = _number(params.get("progress")), _number(params.get("total")), params.get("message")
        if call is not None and call.on_progress is not None and progress is not None:
            call.on_progress(progress, total, message if isinstance(message, str) else None)


def message_of(text: bytes | bytearray) -> types.JSONRPCMessage:
    """Raises ValueError. Not in one step: of each kind of message that it is not an error would keep a copy of it."""
    return types.jsonrpc_message_adapter.validate_python(from_json(fit_text(text)), by_name=False)


def refusal(why: str) -> bytes:
    """An answer that is none, where it is told which request it answers."""
    error = types.ErrorData(code=types.PARSE_ERROR, message=why)
    return _json(types.JSONRPCError(jsonrpc="2.0", id=_NO_ID, error=error))


def _json(message: types.JSONRPCResponse | types.JSONRPCError) -> bytes:
    return message.model_dump_json(by_alias=True, exclude_none=True).encode()


def _number(value: object) -> float | None:
    """An integer may be larger than any float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
