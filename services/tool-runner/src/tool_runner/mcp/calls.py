"""What is asked of a server and not over yet, so that the edge knows what belongs to what.

A call is over when what it brought is stored: until then it keeps the place that a large answer was read in.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from weakref import WeakValueDictionary

from mcp import types
from sluiceway.process.shares import Place

_asking: ContextVar["Call | None"] = ContextVar("asking", default=None)

OnProgress = Callable[[float, float | None, str | None], None]


class Call:
    """`on_progress` is told how far it is; it must not wait."""

    def __init__(self, on_progress: OnProgress | None = None) -> None:
        self.on_progress = on_progress
        self._places: list[Place] = []
        self._answers: list[types.JSONRPCResponse] = []
        self._over = False

    @contextmanager
    def asking(self) -> Iterator[None]:
        """What this task asks in here is of this call."""
        token = _asking.set(self)
        try:
            yield
        finally:
            _asking.reset(token)
            self._over = True
            self.was_read()
            self._leave()

    def keep(self, place: Place, answer: types.JSONRPCResponse) -> None:
        """A large answer is on its way to who asks."""
        self._places.append(place)
        self._answers.append(answer)
        if self._over:
            self._leave()

    def was_read(self) -> None:
        """Who asks has what came. The library would keep it until its next message."""
        while self._answers:
            self._answers.pop().result = {}

    def _leave(self) -> None:
        while self._places:
            self._places.pop().leave()


class Calls:
    """Those of one connection, by the ids that the library gives their requests."""

    def __init__(self) -> None:
        self._by_id: WeakValueDictionary[types.RequestId, Call] = WeakValueDictionary()

    def sent(self, request: types.JSONRPCRequest) -> None:
        """A request goes out, in the task of who asks."""
        call = _asking.get()
        if call is not None:
            self._by_id[request.id] = call

    def get(self, request_id: object) -> Call | None:
        return self._by_id.get(request_id) if isinstance(request_id, int | str) else None
