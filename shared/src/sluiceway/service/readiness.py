"""Whether a worker process does its work: what keeps it from that, by part, from what it saw last.

Guarantees: `problems` asks nobody, so a probe is answered at once, whatever is away. Each part that has to be asked is
asked again and again, more often while something is wrong with it. A change is one log line.
"""

import asyncio
from collections.abc import Awaitable, Callable

from sluiceway.errors import StoreUnavailable
from sluiceway.process.lifecycle import Stopping
from sluiceway.process.logs import get_logger
from sluiceway.store import Store

# What is wrong with a part; None: nothing.
Look = Callable[[], Awaitable[str | None]]
State = Callable[[], str | None]

_PERIOD_SECONDS = 5.0
_UNREADY_PERIOD_SECONDS = 0.5


class Readiness:
    """`run` is its one task."""

    def __init__(self, stopping: Stopping) -> None:
        self._stopping = stopping
        self._looks: dict[str, tuple[Look, float]] = {}
        self._states: dict[str, State] = {}
        self._seen: dict[str, str] = {}
        self._told_only: set[str] = set()
        self._log = get_logger()

    def look_at(self, part: str, look: Look, every_seconds: float = _PERIOD_SECONDS, *, needed: bool = True) -> None:
        """A part that has to be asked, now and then. One that is not `needed` is told, and makes nothing unready."""
        self._looks[part] = look, every_seconds
        if needed:
            self._seen[part] = "not asked yet"
        else:
            self._told_only.add(part)

    def ask(self, part: str, state: State) -> None:
        """A part that the process knows the state of."""
        self._states[part] = state

    async def run(self) -> None:
        """Look until cancelled."""
        async with asyncio.TaskGroup() as group:
            for part, (look, every_seconds) in self._looks.items():
                group.create_task(self._look(part, look, every_seconds), name=f"readiness-{part}")

    def problems(self, *, without: str = "") -> dict[str, str]:
        """What keeps the process from its work; nothing: ready. `without`: a part that follows from the others."""
        if self._stopping:
            return {"process": "draining"}
        seen = {part: problem for part, problem in self._seen.items() if part not in self._told_only}
        told = {part: state() for part, state in self._states.items() if part != without}
        return seen | {part: problem for part, problem in told.items() if problem is not None}

    def warnings(self) -> dict[str, str]:
        """What is wrong with parts that are not needed."""
        return {part: problem for part, problem in self._seen.items() if part in self._told_only}

    def lacks(self) -> dict[str, str]:
        """Both, for others to hear."""
        return self.problems() | self.warnings()

    def ready(self) -> bool:
        return not self.problems()

    async def _look(self, part: str, look: Look, every_seconds: float) -> None:
        while True:
            problem = await look()
            if problem != self._seen.get(part):
                self._log.info("readiness_changed", part=part, problem=problem)
            if problem is None:
                self._seen.pop(part, None)
            else:
                self._seen[part] = problem
            await asyncio.sleep(every_seconds if problem is None else _UNREADY_PERIOD_SECONDS)


def schema_of(store: Store) -> Look:
    """Whether Postgres answers, and has the schema that this version needs."""

    async def look() -> str | None:
        try:
            current = await store.is_current()
        except StoreUnavailable as error:
            return error.detail
        return None if current else "the schema is older than this version; run the migrations"

    return look
