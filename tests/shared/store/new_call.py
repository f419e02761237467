"""A call that a turn is let go for."""

from sluiceway.ids import new_operation_id, new_tool_call_id
from sluiceway.store.operations.operations import NewOperation
from sluiceway.store.records import OperationStatus

from tests.completion_consumer.scene import PENDING


def call(name: str, status: OperationStatus = PENDING) -> NewOperation:
    return NewOperation(
        id=new_operation_id(),
        step=1,
        tool_call_id=new_tool_call_id(),
        tool_name=name,
        input={"text": "größer", "nothing": None},
        queue="default",
        status=status,
        deadline_seconds=60,
        error={"type": "UNKNOWN_TOOL", "message": "No such tool."} if status == "failed" else None,
    )
