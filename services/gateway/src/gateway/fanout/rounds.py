"""The dirty streams of one server, read in one round trip after the other."""

import asyncio
from collections.abc import Callable
from typing import Any

from gateway.fanout.uplink import Uplink


class Rounds:
    """All dirty streams of the server make a round, and what changes meanwhile makes the next: so batches form by
    themselves. `read` asks for one stream, by `ask`. While the server is away what is dirty waits for `plan`."""

    def __init__(self, uplink: Uplink, read: "Callable[[Rounds, Any], None]") -> None:
        self.uplink = uplink
        self._read = read
        self._loop = asyncio.get_running_loop()
        self._dirty: set[Any] = set()
        self._unanswered = 0
        self._is_due = False

    def mark(self, stream: Any) -> None:
        self._dirty.add(stream)
        self.plan()

    def keep(self, stream: Any) -> None:
        """Mark it while a round's answers come in: the last of them plans the next."""
        self._dirty.add(stream)

    def ask(self, command: bytes, on_reply: Callable[[Any], None]) -> None:
        """Whoever gets the reply calls `answered` first, and `plan` last."""
        self._unanswered += 1
        self.uplink.ask(command, on_reply)

    def wait_for_another(self) -> None:
        """The round also waits for what was asked elsewhere."""
        self._unanswered += 1

    def answered(self) -> None:
        self._unanswered -= 1

    def plan(self) -> None:
        if self._dirty and not self._unanswered and not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._read_dirty)

    def _read_dirty(self) -> None:
        """One pipelined read for each. The next round begins when all are answered."""
        self._is_due = False
        if not self.uplink.up:
            return
        streams, self._dirty = self._dirty, set()
        for stream in streams:
            self._read(self, stream)
