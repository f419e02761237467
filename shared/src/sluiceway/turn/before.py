"""What a message had before the turn that continues it, kept with that turn in Redis: whoever reloads a chat is told of
it by a gateway that need not ask Postgres, or cannot.

Guarantees: it goes with the rest of what Redis knows of the turn: after RETENTION, when its session is deleted. Not
guaranteed: that it is there. It is not of a turn that an older version queued, while Postgres was away then, and where
it is larger than `MOST_BYTES`: then Postgres is to be asked.
"""

import json
from dataclasses import replace

from sluiceway.errors import StoreUnavailable
from sluiceway.store import Store
from sluiceway.store.records import Task
from sluiceway.stream.task_meta import TaskMeta
from sluiceway.wire.message import Part
from sluiceway.wire.task import TaskFields

# Each follower's first read brings it, and each round of the reconciler's.
MOST_BYTES = 128 * 1024


async def fields_of(store: Store, task: Task) -> TaskFields:
    """What Redis is told of a turn. Postgres is asked where the turn continues a message."""
    if task.parts_before == 0:
        return task.fields
    try:
        found = await store.turns.continued(task.id)
    except StoreUnavailable:
        return task.fields
    before = json.dumps(found[1], ensure_ascii=False, separators=(",", ":")) if found is not None else None
    return replace(task.fields, before=before) if before is not None and _has_room(before) else task.fields


def parts_before(meta: TaskMeta | None) -> list[Part] | None:
    """What the message had before; nothing for a turn that began it. None: Redis was not told."""
    if meta is None or meta.before is None:
        return None
    parts: list[Part] = json.loads(meta.before)
    return parts


def _has_room(text: str) -> bool:
    return len(text) <= MOST_BYTES and len(text.encode()) <= MOST_BYTES
