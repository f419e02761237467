"""What followers are told of a message that was sent to enter a turn: `data-steer`, in the streams of both turns."""

from sluiceway.store.records import Task
from sluiceway.wire.events import Data
from sluiceway.wire.message import Part

_TYPE = "data-steer"


def accepted_part(by: str) -> Part:
    """Of the turn that ends for another one: it stays with the message."""
    return {"type": _TYPE, "id": "steer", "data": {"state": "accepted", "taskId": by}}


def what_became_of_it(task: Task) -> Data:
    """Of the turn of the message itself: its answer continues what that turn had, or is one like any other."""
    state = "accepted" if task.entered else "returned"
    return Data(type=_TYPE, data={"state": state, "taskId": task.steers}, transient=True)
