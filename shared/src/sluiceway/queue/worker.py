"""The worker loop: entries of a queue, handled in slots, under leases.

Guarantees
- An entry is acknowledged after its handler returned, never before. A handler that raises leaves it pending: it is
  delivered again when its lease runs out, and after `max_deliveries` it goes to the dead letters with the reason. What
  cannot be read (`Unreadable`), and what Postgres refuses (`NotStorable`), goes there at once.
- What Redis forgot under a handler (`Forgotten`) is released at once: it has to begin again, anywhere.
- A lease is renewed every third of its time, by a script that checks the owner. A lost lease cancels the handler.
- A worker takes what waits little by little, so that others with free slots get their share; one that has just
  come waits between, for seconds: others may be about to come.
- Entries of dead owners are taken over, with jitter, also while the queue is idle.
- SIGTERM: reading stops; handlers get `drain` time; what is not finished then is released, and is delivered to
  another worker at once.
- A process handles an entry once at a time, by whichever ways it comes.
- Redis away: capped backoff with jitter, for as long as it takes.
Not guaranteed: that a handler runs once. Its effects must be idempotent or fenced.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Literal, TypeVar, get_args

from sluiceway.backoff import Backoff
from sluiceway.cancelling import cancelled
from sluiceway.errors import Fenced, Forgotten, NotStorable, SluicewayError, Unavailable
from sluiceway.process.lifecycle import Stopping
from sluiceway.process.logs import get_logger
from sluiceway.queue.partitioned_queue import PartitionedQueue
from sluiceway.queue.ramp import Ramp
from sluiceway.queue.work_queue import Delivery, WorkQueue

T = TypeVar("T")

# How an entry left its handler, and by which way it came that is not the usual one.
Counted = Literal[
    "handled", "dead_letter", "failed", "fenced", "released", "cancelled", "recovered", "taken_over", "lease_lost"
]
COUNTED: tuple[Counted, ...] = get_args(Counted)
_BLOCK = timedelta(seconds=2)
# What comes on top of the lease before a dead worker's entry is taken over.
_SWEEP_SECONDS = 1.0
_CLEANUP_SECONDS = 3
_RAMP_STEP_SECONDS = 0.05
# Of a burst, in one round trip: the first one of several idle workers would take all that its slots hold.
_READ_AT_ONCE = 4
# On top of the lease: one try to renew takes at most as long as a socket's timeout, and the backoff behind it.
_STUCK_SECONDS = 30


class Unreadable(SluicewayError):
    """An entry that no version of this handler could read: it goes to the dead letters at once."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    slots: int
    drain: timedelta
    max_deliveries: int = 5


class Worker:
    """`handle` does the work. `dead_letter` writes a dead letter (entry, reason) and whatever must follow from it."""

    def __init__(
        self,
        queue: WorkQueue | PartitionedQueue,
        handle: Callable[[Delivery], Awaitable[None]],
        dead_letter: Callable[[Delivery, str], Awaitable[None]],
        options: WorkerOptions,
        stopping: Stopping,
    ) -> None:
        self._queue = queue
        self._handle = handle
        self._dead_letter = dead_letter
        self._options = options
        self._stopping = stopping
        self._in_flight: dict[str, asyncio.Task[None]] = {}
        self._ids: dict[str, dict[str, str]] = {}
        self._freed = asyncio.Event()
        self._taking = asyncio.Event()
        self._taking.set()
        self._ramp = Ramp(options.slots)
        self._log = get_logger()
        self._ticked_at: float | None = None  # while it runs
        self.reading = False
        self.counts: Counter[Counted] = Counter(dict.fromkeys(COUNTED, 0))

    @property
    def busy(self) -> int:
        return len(self._in_flight)

    @property
    def slots(self) -> int:
        return self._options.slots

    @property
    def tick_age_seconds(self) -> float:
        """Since leases were last renewed, or tried to be: also while Redis is away this stays small. 0 while it does
        not run: it has no leases while its process waits for its surroundings, or for other queues to drain."""
        return 0.0 if self._ticked_at is None else time.monotonic() - self._ticked_at

    def stuck(self) -> str | None:
        """What keeps the leases of its entries from being renewed, however well Redis does; None: nothing."""
        if self.tick_age_seconds <= self._queue.lease.total_seconds() + _STUCK_SECONDS:
            return None
        return f"leases were last renewed {self.tick_age_seconds:.0f} s ago"

    def pause(self) -> None:
        """Take nothing more until `unpause`; what is in flight is finished. A read that waits may bring one more."""
        self._taking.clear()

    def unpause(self) -> None:
        self._taking.set()

    async def run(self) -> None:
        """Work until `stopping`, then drain."""
        self._ticked_at = time.monotonic()
        renewer = asyncio.create_task(self._renew_loop(), name="lease-renewer")
        loops = [
            asyncio.create_task(self._read_loop(), name="queue-reader"),
            asyncio.create_task(self._sweep_loop(), name="queue-sweeper"),
        ]
        stop = asyncio.create_task(self._stopping.wait(), name="stopping")
        try:
            await asyncio.wait([stop, renewer, *loops], return_when=asyncio.FIRST_COMPLETED)
            for loop in (renewer, *loops):
                if loop.done():
                    loop.result()  # a loop never ends by itself: its error ends the process
        finally:
            self.reading = False
            await cancelled([stop, *loops])
            await self._drain()
            await cancelled([renewer])
            self._ticked_at = None

    # Taking entries

    async def _read_loop(self) -> None:
        await self._recover()
        self._ramp = Ramp(self._options.slots)
        while True:
            await self._taking.wait()
            free = min(await self._free_slots(), _READ_AT_ONCE)
            for delivery in self._not_in_flight(await persistently(partial(self._queue.read, free, _BLOCK))):
                self._start(delivery)
            self.reading = True

    async def _recover(self) -> None:
        await persistently(self._queue.ensure_group)
        own = await persistently(lambda: self._queue.own_pending(self._options.slots))
        for delivery in self._not_in_flight(own):
            self._count("recovered")
            self._log.info("entry_recovered", queue=self._queue.kind, entry_id=delivery.entry_id, **delivery.ids)
            self._start(delivery)
        self.reading = True

    async def _sweep_loop(self) -> None:
        while True:
            period = min(self._queue.lease.total_seconds() * 0.3, _SWEEP_SECONDS)
            await asyncio.sleep(period * random.uniform(0.7, 1.3))  # noqa: S311 - jitter
            free = self._options.slots - self.busy
            if free <= 0 or not self._taking.is_set():
                continue
            for delivery in self._not_in_flight(await persistently(partial(self._queue.sweep, free))):
                self._take_over(delivery)

    def _not_in_flight(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """What a process left pending is found by its successor's first look and by the sweep, at the same moment."""
        return [delivery for delivery in deliveries if delivery.entry_id not in self._in_flight]

    def _take_over(self, delivery: Delivery) -> None:
        self._count("taken_over")
        self._log.info(
            "entry_taken_over",
            queue=self._queue.kind,
            entry_id=delivery.entry_id,
            deliveries=delivery.deliveries,
            worker=self._queue.consumer,
            **delivery.ids,
        )
        self._start(delivery)

    async def _free_slots(self) -> int:
        while (free := self._ramp.limit() - self.busy) <= 0:
            self._freed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if self._ramp.over else _RAMP_STEP_SECONDS):
                    await self._freed.wait()
        return free

    async def _renew_loop(self) -> None:
        while True:
            await asyncio.sleep(self._queue.lease.total_seconds() / 3)
            for entry_id in await persistently(self._renew):
                handler = self._in_flight.get(entry_id)
                if handler is not None:
                    self._count("lease_lost")
                    self._log.warning("lease_lost", queue=self._queue.kind, entry_id=entry_id, **self._ids[entry_id])
                    handler.cancel()

    async def _renew(self) -> set[str]:
        self._ticked_at = time.monotonic()
        return await self._queue.renew(list(self._in_flight))

    # Handling one entry

    def _start(self, delivery: Delivery) -> None:
        task = asyncio.create_task(self._process(delivery), name=f"entry-{delivery.entry_id}")
        self._in_flight[delivery.entry_id] = task
        self._ids[delivery.entry_id] = delivery.ids
        task.add_done_callback(lambda _: self._release(delivery.entry_id))

    def _release(self, entry_id: str) -> None:
        del self._in_flight[entry_id], self._ids[entry_id]
        self._freed.set()

    async def _process(self, delivery: Delivery) -> None:
        """Handle, then acknowledge. Cancelled (lease lost, drain) or failed: the entry stays pending."""
        entry_id, ids = delivery.entry_id, self._ids[delivery.entry_id]
        try:
            await self._attempt(delivery)
        except asyncio.CancelledError:
            self._count("cancelled")
            raise
        except Forgotten as error:
            self._count("released")
            self._log.warning("entry_released", entry_id=entry_id, reason=str(error), **ids)
            await persistently(lambda: self._queue.requeue([entry_id]))
            return
        except Fenced as error:
            self._count("fenced")
            self._log.warning("entry_fenced", entry_id=entry_id, reason=str(error), **ids)
        except Exception:  # noqa: BLE001 - the message boundary: whatever it was, the entry is delivered again
            self._count("failed")
            self._log.exception("entry_failed", entry_id=entry_id, deliveries=delivery.deliveries, **ids)
            return
        await persistently(lambda: self._queue.ack(delivery.entry_id))

    async def _attempt(self, delivery: Delivery) -> None:
        """Handle it, or make a dead letter of it where trying again changes nothing."""
        reason = f"delivered {delivery.deliveries - 1} times without success"
        if delivery.deliveries <= self._options.max_deliveries:
            try:
                await persistently(lambda: self._handle(delivery))
            except (Unreadable, NotStorable) as error:
                reason = str(error)
            else:
                self._count("handled")
                return
        await persistently(lambda: self._dead_letter(delivery, reason))
        self._count("dead_letter")

    def _count(self, what: Counted) -> None:
        self.counts[what] += 1

    # Ending

    async def _drain(self) -> None:
        """Let handlers finish for a while, then release what is left."""
        handlers = list(self._in_flight.values())
        if handlers:
            self._log.info("draining", in_flight=len(handlers))
            await asyncio.wait(handlers, timeout=self._options.drain.total_seconds())
        unfinished = [handler for handler in handlers if not handler.done()]
        for handler in unfinished:
            handler.cancel()
        if unfinished:
            await asyncio.wait(unfinished, timeout=_CLEANUP_SECONDS)
        try:
            async with asyncio.timeout(_CLEANUP_SECONDS):
                await self._queue.leave()
        except (Unavailable, TimeoutError) as error:
            self._log.warning("release_failed", reason=str(error))  # the leases run out instead
        self._log.info("drained", released=len(unfinished))


async def persistently(call: Callable[[], Awaitable[T]]) -> T:
    """Call until it answers, waiting while Redis or Postgres is away. Says so once, and in the end how long it was."""
    backoff, began, away = Backoff(), time.monotonic(), ""
    while True:
        try:
            answer = await call()
        except Unavailable as error:
            if error.code != away:
                get_logger().warning("waiting", code=error.code, reason=str(error))
            away = error.code
            await asyncio.sleep(backoff.next_seconds())
            continue
        if away:
            get_logger().info("waited", code=away, seconds=round(time.monotonic() - began, 3))
        return answer
