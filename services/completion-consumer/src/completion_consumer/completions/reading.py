"""Reading entries of the completions queue, and what can still be told of those that cannot be read."""

import re
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from sluiceway.queue.work_queue import Delivery
from sluiceway.queue.worker import Unreadable
from sluiceway.service import deliveries
from sluiceway.wire.jobs import CompletionJob, ProgressJob

from completion_consumer.completions.plain import read_plain

_JOB: TypeAdapter[CompletionJob | ProgressJob] = TypeAdapter(
    Annotated[CompletionJob | ProgressJob, Field(discriminator="kind")]
)
_OBJECT = TypeAdapter(dict[str, Any])
# How every completion of ours begins. What follows, a result, says nothing about whose it is.
_OURS = (b'{"kind":"complete"', b'{"kind":"progress"')
_BEGINNING = re.compile(
    rb'\s*\{\s*"kind"\s*:\s*"complete"\s*,\s*"operation_id"\s*:\s*"([A-Za-z0-9._:@~-]{1,200})"\s*[,}]'
)


def read_job(delivery: Delivery, max_bytes: int) -> CompletionJob | ProgressJob:
    """Raises Unreadable."""
    if len(delivery.body) > max_bytes:
        raise Unreadable(f"{len(delivery.body)} bytes, and at most {max_bytes} are taken")
    return _plain_job(delivery.body) or deliveries.read_job(_JOB, delivery, "a completion")


def _plain_job(body: bytes) -> CompletionJob | None:
    """Of a producer that knows nothing of ours. Our own are known by how they begin, and not read twice."""
    if body.startswith(_OURS):
        return None
    try:
        return read_plain(_OBJECT.validate_json(body))
    except ValidationError:
        return None


def operation_named_by(body: bytes) -> str | None:
    """Which operation an unreadable completion is about; None when it cannot be told, or when it ends none."""
    try:
        value = _OBJECT.validate_json(body)
    except ValidationError:
        found = _BEGINNING.match(body)
        return found[1].decode() if found is not None else None
    operation_id = value.get("operation_id") if value.get("kind") == "complete" else None
    return operation_id if isinstance(operation_id, str) and "\x00" not in operation_id else None
