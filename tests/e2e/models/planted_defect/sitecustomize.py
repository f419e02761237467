"""Loaded by a Python process that has this directory in PYTHONPATH: it has a defect, of the kind that nobody foresees.

What says "unforeseen" cannot be completed; with PLANTED=always it cannot be ended in any way.
"""

import os
from collections.abc import Sequence

from sluiceway.store.records import Task
from sluiceway.store.turns.ending import TurnEnd
from sluiceway.turn.ending import TurnEnding
from sluiceway.wire.events import Event
from sluiceway.wire.task import EndStatus

_end = TurnEnding.end


async def end(
    self: TurnEnding, task: Task, end: TurnEnd, events: Sequence[Event], *, written: int | None = None
) -> EndStatus | None:
    if "unforeseen" in str(end.parts) and (end.status == "completed" or os.environ.get("PLANTED") == "always"):
        raise RuntimeError("a planted defect")
    return await _end(self, task, end, events, written=written)


TurnEnding.end = end  # type: ignore[method-assign]
