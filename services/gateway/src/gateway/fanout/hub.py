"""One reader of Redis for all the browsers of a gateway process.

Guarantees: one connection to each server, however many subscribers; a subscriber gets every entry after its cursor,
replay then live, in order, with no gap and no repeat at the seam; a slow or dead subscriber costs the others nothing; a
lost connection is made again, for ever, and everybody resumes from where they were, also where a slot of a cluster has
moved; a stream that nobody follows leaves nothing here.
Not guaranteed: that a stream stays open. When Redis is away for `outage_seconds`, when a stream lost entries that were
still to come, when the process drains, open streams are broken, and who follows them comes back with a cursor.
How what is new is read, and reaches everybody: live_streams.py.
"""

import asyncio
import itertools
import random
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from sluiceway.errors import StreamTruncated

from gateway.fanout.follow import Follow, Size
from gateway.fanout.frames import BeginningLost, EntryId, Page, format_id
from gateway.fanout.live_streams import HEARTBEAT_SLOTS, LiveStreams, break_off
from gateway.fanout.reader import StreamEnded
from gateway.fanout.redis_wire import Reply, pack
from gateway.fanout.subscriber import Backlog, StreamBroken, Subscription

__all__ = ["EntryId", "Follow", "Hub", "HubStats", "Size", "StreamBroken", "StreamEnded", "Subscription"]

# A comment without a blank line behind it: some clients take a block that has nothing but a comment for an event.
_KEEP_ALIVE = b": keep-alive\n"


@dataclass(frozen=True, slots=True)
class HubStats:
    subscribers: int
    streams: int
    reconnects: int
    entries_read: int
    events_sent: int
    slow: int
    broken: int
    unknown_types: int
    joined: int
    replayed: int
    truncated: int
    bytes_sent: int


class Hub:
    """Used as `async with hub:`; its tasks run as long as that block does, and end it when one of them dies."""

    def __init__(
        self,
        redis_url: str,
        *,
        heartbeat_seconds: float = 8.0,
        slow_seconds: float = 30.0,
        join_seconds: float = 3.0,
        outage_seconds: float = 10.0,
        reply_seconds: float = 10.0,
        most_waiting_bytes: int = 64 * 1024 * 1024,
        name: str = "sluiceway-hub",
    ) -> None:
        self.slow_seconds = slow_seconds
        self.backlog = Backlog(most_waiting_bytes)
        self.events_sent = self.bytes_sent = self.slow = self.broken = 0
        self._joined = self._replayed = self._truncated = 0
        self._url = redis_url
        self._name = name
        self._heartbeat_seconds = heartbeat_seconds
        self._join_seconds = join_seconds
        self._outage_seconds = outage_seconds
        self._reply_seconds = reply_seconds
        self._open: set[Subscription] = set()
        self._draining = False

    async def __aenter__(self) -> Self:
        self._live = LiveStreams(
            self._url, name=self._name, reply_seconds=self._reply_seconds, join_seconds=self._join_seconds
        )
        self._servers, self._reader = self._live.servers, self._live.reader
        self._group = await asyncio.TaskGroup().__aenter__()
        self._tasks = [
            self._group.create_task(self._servers.run(), name="hub-servers"),
            self._group.create_task(self._send_heartbeats(), name="hub-heartbeat"),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(kind, error, trace)

    # Joining.

    async def join(self, follow: Follow) -> Subscription:
        """Let a subscriber in, with its first page read.

        Raises StreamTruncated with `read_on_from` when what follows its cursor is lost, StreamEnded when nothing will
        follow it, RedisUnavailable. Whoever gets a subscription and does not `run` it owes nothing.
        """
        try:
            page, skip = await self._reader.first(follow)
        except BeginningLost as lost:
            self._truncated += 1
            raise StreamTruncated(read_on_from=format_id(lost.read_on_from)) from None
        self._joined += 1
        self._replayed += bool(page.entries)
        return Subscription(self, follow, page, skip)

    def measure(self, events_key: str) -> Size:
        """Begin to ask how large a stream is, for a `Follow` of it, in the same write as what else is asked now."""
        return self._reader.measure(events_key.encode())

    async def read(self, subscription: Subscription, count: int) -> Page:
        """What comes next for one that catches up. Raises BeginningLost, RedisUnavailable."""
        cursor = subscription.cursor
        return await self._reader.after(
            subscription.page_type, subscription.key, cursor, count, patience_seconds=self._outage_seconds
        )

    async def ask(self, *command: str) -> Reply:
        """The reply to a command that only reads, on the connection that all share. Raises RedisUnavailable."""
        key = command[1].encode() if len(command) > 1 else None
        return await self._servers.fetch(key, pack(*command), patience_seconds=self._join_seconds)

    @property
    def up(self) -> bool:
        """Whether the connection stands; of those to a cluster any."""
        return self._servers.up

    def attach(self, subscription: Subscription) -> bool:
        """Take it into the live set. False when the set is already ahead: it has to read again."""
        return self._live.attach(subscription)

    def detach(self, subscription: Subscription) -> None:
        """Take it out of the live set. A stream that nobody follows is forgotten."""
        self._live.detach(subscription)

    def opened(self, subscription: Subscription) -> None:
        if self._draining:
            raise StreamBroken("the gateway is draining")
        self._open.add(subscription)

    def closed(self, subscription: Subscription) -> None:
        self.detach(subscription)
        self._open.discard(subscription)

    def tell_waiting(self, events_key: str, text: bytes) -> bool:
        """Say something that is no entry to those who wait for the first one; whether there are any."""
        return self._live.tell_waiting(events_key, text)

    # Keeping alive and ending.

    async def _send_heartbeats(self) -> None:
        """Say something to everybody every `heartbeat_seconds`, a share of the streams at a time."""
        for slot in itertools.cycle(range(HEARTBEAT_SLOTS)):
            await asyncio.sleep(self._heartbeat_seconds / HEARTBEAT_SLOTS)
            self._servers.check()
            if not self._servers.whole:
                break_off(self._cut_off(), "Redis is away")
            for stream in self._live.in_slot(slot):
                for subscription in tuple(stream.live):
                    subscription.say(_KEEP_ALIVE)

    def _cut_off(self) -> set[Subscription]:
        """Those whose server is away for too long."""
        return {one for one in self._open if self._servers.down_seconds(one.key) > self._outage_seconds}

    def drain(self, *, retry_ms: tuple[int, int] = (200, 3000)) -> int:
        """Tell every subscriber when to come back, each at another moment, and break its stream. Answers how many.

        From now on whoever joins is broken at once.
        """
        self._draining = True
        told = tuple(self._open)
        for subscription in told:
            subscription.say(b"retry: %d\n" % random.randint(*retry_ms))  # noqa: S311 - jitter, not a secret
            subscription.break_off("the gateway is draining")
        return len(told)

    def stats(self) -> HubStats:
        return HubStats(
            subscribers=len(self._open),
            streams=len(self._live),
            reconnects=self._servers.reconnects,
            entries_read=self._reader.entries_read,
            events_sent=self.events_sent,
            slow=self.slow,
            broken=self.broken,
            unknown_types=self._reader.unknown_types,
            joined=self._joined,
            replayed=self._replayed,
            truncated=self._truncated,
            bytes_sent=self.bytes_sent,
        )
