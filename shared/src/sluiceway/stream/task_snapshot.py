"""What Redis knows of one of many tasks that were asked for in one round trip, and for how long it keeps that."""

from collections.abc import Mapping
from dataclasses import dataclass

from sluiceway.redis.client import answered
from sluiceway.stream.task_meta import TaskMeta


@dataclass(frozen=True, slots=True)
class TaskSnapshot:
    """`answer`: the metadata, or what Redis answered instead. The times are TTLs; below 0: there is no such key."""

    answer: Mapping[bytes, bytes] | Exception
    meta_left_ms: int
    events_left_ms: int

    @property
    def meta(self) -> TaskMeta | None:
        """Raises what Redis answered instead, and ValueError where no script of ours has written it."""
        return TaskMeta.read(answered(self.answer))

    @property
    def left_ms(self) -> int:
        """For how long nothing of it expires."""
        return self.meta_left_ms if self.events_left_ms < 0 else min(self.meta_left_ms, self.events_left_ms)
