"""How a turn ended, by its row in Postgres."""

from sluiceway.store.records import Task
from sluiceway.wire.events import Abort, Error, Event, Finish
from sluiceway.wire.task import EndStatus


def end_status(task: Task) -> EndStatus:
    """Raises ValueError when the turn is live."""
    if task.status not in ("completed", "failed", "cancelled"):
        raise ValueError(f"task {task.id} has not ended")
    return task.status


def ending_of(task: Task) -> list[Event]:
    """The last chunks of a turn that has ended."""
    match task.status:
        case "failed":
            error = task.error or {}
            return [Error(error_text=str(error.get("message", "The turn failed.")))]
        case "cancelled":
            return [Abort(), Finish()]
        case _:
            return [Finish(finish_reason="stop")]
