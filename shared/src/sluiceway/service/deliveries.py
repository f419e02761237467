"""What every handler does with an entry beside its work: read it, and keep it when nobody can handle it."""

from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from sluiceway.process.logs import get_logger
from sluiceway.queue.work_queue import Delivery
from sluiceway.queue.worker import Unreadable
from sluiceway.store import Store

J = TypeVar("J")


def read_job(kind: TypeAdapter[J], delivery: Delivery, what: str) -> J:
    """The entry's job. Raises Unreadable, which says what is wrong with it and repeats nothing of it."""
    try:
        return kind.validate_json(delivery.body)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]["msg"]
        raise Unreadable(f"not {what}: {error.error_count()} errors, first: {first}") from None


def job_of(kind: TypeAdapter[J], delivery: Delivery) -> J | None:
    """The entry's job; None where it cannot be read."""
    try:
        return kind.validate_json(delivery.body)
    except ValidationError:
        return None


async def keep_dead_letter(
    store: Store, queue_key: str, delivery: Delivery, reason: str, *, task_id: str | None, **ids: str | None
) -> None:
    """Keep an entry with its bytes and the reason, once. `ids`: what else is known of it, for the log.

    Raises StoreUnavailable.
    """
    await store.dead_letters.add(
        queue=queue_key,
        entry_id=delivery.entry_id,
        body=delivery.body,
        reason=reason,
        deliveries=delivery.deliveries,
        task_id=task_id,
        operation_id=ids.get("operation_id"),
    )
    get_logger().error("dead_letter", task_id=task_id, **ids, entry_id=delivery.entry_id, reason=reason)
