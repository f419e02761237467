"""What is done beside a turn, and may never hold it up."""

import asyncio
from dataclasses import dataclass, field

from sluiceway.wire.events import Event


@dataclass(slots=True)
class Beside:
    """`heard`: the model has begun to answer, or the turn needs none any more. `news`: events for the turn's stream.
    The step takes them along with its own: written by anybody else, they could come between its last one and the end.
    """

    heard: asyncio.Event = field(default_factory=asyncio.Event)
    news: list[Event] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, event: Event) -> None:
        self.news.append(event)
        self._changed.set()

    async def next(self) -> list[Event]:
        """Those that come next; waits until there is one."""
        await self._changed.wait()
        return self.take()

    def take(self) -> list[Event]:
        taken = list(self.news)
        self.news.clear()
        self._changed.clear()
        return taken
