"""Reading entries of the completions queue, and what can still be told of those that cannot be read."""

import re
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from sluiceway.queue.work_queue import Delivery
from sluiceway.queue.worker import Unreadable
from sluiceway.service import deliveries
from sluiceway.wire.jobs import CompletionJob, ProgressJob

_JOB: TypeAdapter[CompletionJob | ProgressJob] = TypeAdapter(
    Annotated[CompletionJob | ProgressJob, Field(discriminator="kind")]
)
_OBJECT = TypeAdapter(dict[str, Any])
# How every completion of ours begins. What follows, a result, says nothing about whose it is.
_BEGINNING = re.compile(
    rb'\s*\{\s*"kind"\s*:\s*"complete"\s*,\s*"operation_id"\s*:\s*"([A-Za-z0-9._:@~-]{1,200})"\s*[,}]'
)


def read_job(delivery: Delivery, max_bytes: int) -> CompletionJob | ProgressJob:
    """Raises Unreadable."""
    if len(delivery.body) > max_bytes:
        raise Unreadable(f"{len(delivery.body)} bytes, and at most {max_bytes} are taken")
    return deliveries.read_job(_JOB, delivery, "a completion")


def operation_named_by(body: bytes) -> str | None:
    """Which operation an unreadable completion is about; None when it cannot be told, or when it ends none."""
    try:
        value = _OBJECT.validate_json(body)
    except ValidationError:
        found = _BEGINNING.match(body)
        return found[1].decode() if found is not None else None
    operation_id = value.get("operation_id") if value.get("kind") == "complete" else None
    return operation_id if isinstance(operation_id, str) and "\x00" not in operation_id else None
