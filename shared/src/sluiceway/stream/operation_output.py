"""What operations add to the stream of a task that waits for them: progress, and how they ended.

Guarantees: an operation's end is shown once; progress that is older than what was shown adds nothing; nothing is shown
once the task's next step has begun. Methods raise RedisUnavailable when Redis is away.
"""

from collections.abc import Sequence
from typing import Any, Literal

from redis.asyncio import Redis

from sluiceway.process.retention import Retention
from sluiceway.scripts import Argument, Scripts
from sluiceway.stream.ordered import flat, keys_of, script_then
from sluiceway.wire.events import Event

# "old": a later event was shown. "ended": the operation's end was shown, or the task has ended. "refused": the task
# does not wait, its next step has begun. "lost": Redis forgot the task, or perhaps some of its stream.
ShowResult = Literal["ok", "old", "ended", "refused", "lost"]


class OperationOutput:
    def __init__(self, redis: Redis, retention: Retention) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self._live_ttl_ms = retention.live_ms

    async def show(
        self,
        task_id: str,
        operation_id: str,
        events: Sequence[Event],
        *,
        number: int | None = None,
        final: bool = False,
    ) -> ShowResult:
        """Append an operation's events. `number`: an event that is older than the last one shown adds nothing.
        `final`: the operation's end."""
        arguments: list[Argument] = [operation_id, "" if number is None else number, "1" if final else ""]
        arguments += [self._live_ttl_ms, *flat(events)]
        answer: bytes = await self._scripts.run("stream/show_operation", keys_of(task_id), arguments)
        return answer.decode()  # type: ignore[return-value]  # the script's five words

    async def end_then(
        self, task_id: str, operation_id: str, events: Sequence[Event], then: Sequence[Sequence[Argument]]
    ) -> list[Any]:
        """As a final `show`, and commands behind it in the same round trip: their answers, or their ResponseErrors."""
        arguments: list[Argument] = [operation_id, "", "1", self._live_ttl_ms, *flat(events)]
        return (await script_then(self._redis, "stream/show_operation", keys_of(task_id), arguments, then))[1]
