"""The operations that this process holds: taken in Redis, renewed, and looked after.

Guarantees
- While a runner lives and renews, nobody else begins what it holds, whatever entries say. An operation that was
  done with here begins nothing for a while, should an entry of it come again.
- A tool whose turn has ended is cancelled within LOOK_SECONDS and a round trip. One round trip looks after all.
Not guaranteed: that a frozen runner stops. It is told when it wakes up, and Postgres decides whose word counts.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta

from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.errors import RedisUnavailable
from sluiceway.process.logs import get_logger
from sluiceway.redis_client import command
from sluiceway.scripts import Call, Scripts
from sluiceway.wire.task import ENDED

from tool_runner.runner.running import Run

LOOK_SECONDS = 0.5
_WATCH_SECONDS = 0.25
_RELEASE_SECONDS = 2
_DONE = "-"
_DONE_MS = 60_000


@dataclass(slots=True)
class Held:
    """One held operation. `lost`: another runner has it now. `done`: its end was told."""

    operation_id: str
    task_id: str
    run: Run | None = None
    lost: bool = False
    done: bool = False

    def cancel(self) -> None:
        if self.run is not None:
            self.run.cancel()


class HeldOperations:
    """`run` is its one task. The key of an operation holds the runner's name for a lease, or says that it is done."""

    def __init__(self, redis: Redis, runner: str, lease: timedelta) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self._runner = runner
        self._lease_seconds = lease.total_seconds()
        self._held: dict[str, Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    async def take(self, operation_id: str, task_id: str, *, delivered_before: bool) -> Held | None:
        """Take an operation; None: this entry is a second one, of what somebody alive does or has done.

        Waits while that is not clear. An entry that was delivered before may be that of a holder who is about to notice
        that it lost its lease, so a heartbeat says nothing then until a whole lease has passed.
        Raises RedisUnavailable.
        """
        began, left = time.monotonic(), None
        while True:
            held, holder, remaining = await self._try(operation_id, task_id)
            if held is not None or holder == _DONE:
                return held
            alive = holder == self._runner or (left is not None and remaining > left)
            if alive and (not delivered_before or time.monotonic() - began > self._lease_seconds):
                return None
            left = remaining
            await asyncio.sleep(_WATCH_SECONDS)

    async def release(self, held: Held) -> None:
        """Let go of it. When Redis is away the key expires by itself."""
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                await self._let_go(held)
        except (RedisUnavailable, TimeoutError) as error:
            get_logger().warning("holder_not_released", reason=str(error))
        finally:
            self._held.pop(held.operation_id, None)

    async def run(self) -> None:
        """Renew and look until cancelled."""
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, self._lease_seconds / 3))
            try:
                await self._look()
            except RedisUnavailable as error:
                get_logger().warning("operations_not_looked_after", in_flight=len(self), reason=str(error))

    async def _try(self, operation_id: str, task_id: str) -> tuple[Held | None, str, int]:
        if operation_id in self._held:
            return None, self._runner, 0
        # Before the answer is there, so that two entries in one process cannot both get it.
        held = self._held[operation_id] = Held(operation_id, task_id)
        mine = False
        try:
            name, remaining = await self._scripts.run("operation/hold", *self._hold(operation_id))
            holder = name.decode()
            mine = holder == self._runner
        finally:
            if not mine:
                del self._held[operation_id]
        return (held if mine else None), holder, int(remaining)

    async def _look(self) -> None:
        watched = list(self._held.values())
        if not watched:
            return
        calls = [Call("operation/hold", *self._hold(held.operation_id)) for held in watched]
        calls += [Call("stream/status", [keys.task_meta(held.task_id)], []) for held in watched]
        answers = await self._scripts.run_many(calls)
        for held, holder, status in zip(watched, answers, answers[len(watched) :], strict=False):
            self._judge(held, holder, status)

    def _judge(self, held: Held, holder: object, status: object) -> None:
        if isinstance(holder, list) and holder[0].decode() != self._runner and not held.done:
            get_logger().warning("operation_lost", operation_id=held.operation_id)
            held.lost = True
            held.cancel()
        if isinstance(status, bytes) and status.decode() in ENDED:
            held.cancel()

    async def _let_go(self, held: Held) -> None:
        key = keys.operation_holder(held.operation_id)
        if held.done:
            await command(self._redis, "SET", key, _DONE, "PX", _DONE_MS)
        elif not held.lost:
            await self._scripts.run("stream/delete_if_equal", [key], [self._runner])

    def _hold(self, operation_id: str) -> tuple[list[str], list[str | int]]:
        return [keys.operation_holder(operation_id)], [self._runner, int(self._lease_seconds * 1000)]
