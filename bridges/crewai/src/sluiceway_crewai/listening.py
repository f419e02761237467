"""Listening on CrewAI's event bus.

Guarantees
- What a crew does within `with publish_crew_events(…)` goes to that stream and to no other, however many crews run at
  once: by the context (contextvars) that an event was emitted in. CrewAI hands it on to the threads that it starts; a
  thread of one's own gets it by `contextvars.copy_context().run`.
- The order of a crew's events is kept, and a crew never waits for Redis: its events are handed over by the bus's own
  event loop, where handlers run one after the other. (Those without a loop run side by side, in any order.)
- The end of the block waits until they are published, for `timeout_seconds`; not on a thread that runs an event loop.
- An event that cannot be published is logged, and counted by the publisher; the crew goes on.
Not guaranteed: an event that was emitted in no such context is nobody's, and is not published.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

from crewai.events import crewai_event_bus
from crewai.events.event_bus import is_replaying
from sluiceway.errors import AgentEventError
from sluiceway.feeds.agent_threads import ThreadPublisher

from sluiceway_crewai.translating import HEARD, translate


class _Listener:
    def __init__(self, publisher: ThreadPublisher, task_id: str, generation: int | None) -> None:
        self._publisher = publisher
        self._task_id = task_id
        self._generation = generation

    async def hear(self, source: Any, event: Any) -> None:
        """On the bus's event loop, in the context of whoever emitted the event; so nothing may wait here."""
        told = translate(event) if _listener.get() is self and not is_replaying() else None
        if told is None:
            return
        publish = partial(self._publisher.publish_nowait, self._task_id, generation=self._generation)
        try:
            publish(told.agent_name, told.event_type, told.content, told.metadata)
        except AgentEventError:
            # It is logged. A crew does not fail because nobody can watch it.
            return


_listener: ContextVar[_Listener | None] = ContextVar("sluiceway_crewai_listener", default=None)


@contextmanager
def publish_crew_events(
    publisher: ThreadPublisher, task_id: str, *, generation: int | None = None, timeout_seconds: float = 5.0
) -> Iterator[None]:
    """Publish what crews do within this block to the agent stream of a task, which must have been created.

    `generation`: only to the stream that `create` answered so.
    """
    listener = _Listener(publisher, task_id, generation)
    for event_type in HEARD:
        crewai_event_bus.on(event_type)(listener.hear)
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
        for event_type in HEARD:
            crewai_event_bus.off(event_type, listener.hear)
        if not _runs_a_loop():
            crewai_event_bus.flush(timeout_seconds)
            publisher.flush(timeout_seconds)


def _runs_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
