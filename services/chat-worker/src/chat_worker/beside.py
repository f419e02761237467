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

    def take(self) -> list[Event]:
        taken = list(self.news)
        self.news.clear()
        return taken
