"""One reader of Redis for all the browsers of a gateway process.

Guarantees: one connection to each server, however many subscribers; a subscriber gets every entry after its cursor,
replay then live, in order, with no gap and no repeat at the seam; a slow or dead subscriber costs the others nothing; a
lost connection is made again, for ever, and everybody resumes from where they were, also where a slot of a cluster has
moved; a stream that nobody follows leaves nothing here.
Not guaranteed: that a stream stays open. When Redis is away for `outage_seconds`, when a stream lost entries that were
still to come, when the process drains, open streams are broken, and who follows them comes back with a cursor.

Reading a key on a connection with CLIENT TRACKING asks Redis for one message at its next change. Such a message makes
a stream dirty; all dirty streams are read in one round trip of single-key XREADs, and what changes meanwhile makes the
next round. So batches form by themselves, and silent streams cost nothing.
"""

import asyncio
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

import hiredis
from sluiceway.errors import StreamTruncated
from sluiceway.process.logs import get_logger

from gateway.fanout.cluster_servers import ClusterServers, ask_there
from gateway.fanout.follow import FIRST_ENTRIES, Follow, Size, next_count
from gateway.fanout.frames import BEGINNING, BeginningLost, EntryId, Page, format_id
from gateway.fanout.reader import Reader, StreamEnded, is_standing, read_after, read_newest
from gateway.fanout.redis_wire import Reply, pack
from gateway.fanout.rounds import Rounds
from gateway.fanout.servers import Asking, OneServer, Servers, is_cluster
from gateway.fanout.subscriber import Backlog, StreamBroken, Subscription

__all__ = ["EntryId", "Follow", "Hub", "HubStats", "Size", "StreamBroken", "StreamEnded", "Subscription"]

# A comment without a blank line behind it: some clients take a block that has nothing but a comment for an event.
_KEEP_ALIVE = b": keep-alive\n"
_HEARTBEAT_SLOTS = 16
_AGAIN_SECONDS = 0.03


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


class Stream:
    """A stream that somebody follows live. Whoever is in `live` has seen all up to `cursor`, or more."""

    __slots__ = ("count", "cursor", "heartbeat_slot", "is_new", "key", "live", "page_type", "rounds")

    def __init__(self, key: bytes, page_type: type[Page], cursor: EntryId, heartbeat_slot: int, rounds: Rounds) -> None:
        self.key = key
        # Of the server that has it.
        self.rounds = rounds
        self.page_type = page_type
        self.cursor = cursor
        self.heartbeat_slot = heartbeat_slot
        # What came between its reading and its being here has been announced to nobody.
        self.is_new = True
        self.live: set[Subscription] = set()
        # How many entries the next reading asks for.
        self.count = FIRST_ENTRIES


Take = Callable[[Stream, Reply], None]


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
        self._streams: dict[bytes, Stream] = {}
        self._open: set[Subscription] = set()
        self._draining = False
        self._slots = itertools.cycle(range(_HEARTBEAT_SLOTS))

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._servers = self._open_servers()
        self._reader = Reader(self._servers, self._join_seconds)
        self._group = await asyncio.TaskGroup().__aenter__()
        self._tasks = [
            self._group.create_task(self._servers.run(), name="hub-servers"),
            self._group.create_task(self._send_heartbeats(), name="hub-heartbeat"),
        ]
        return self

    def _open_servers(self) -> Servers:
        name, reply_seconds, on_push = self._name, self._reply_seconds, self._invalidated
        if is_cluster(self._url):
            return ClusterServers(
                self._url,
                name=name,
                reply_seconds=reply_seconds,
                on_push=on_push,
                on_up=self._came_up,
                on_rehomed=self._rehome_all,
                read=self._read_dirty,
            )
        return OneServer(
            self._url,
            name=name,
            reply_seconds=reply_seconds,
            on_push=on_push,
            on_up=self._came_up,
            read=self._read_dirty,
        )

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
        """Whether the connection stands; of a cluster each of them."""
        return self._servers.up

    def attach(self, subscription: Subscription) -> bool:
        """Take it into the live set. False when the set is already ahead: it has to read again."""
        stream = self._streams.get(subscription.key)
        if stream is None:
            rounds = self._servers.rounds_of(subscription.key)
            stream = Stream(subscription.key, subscription.page_type, subscription.cursor, next(self._slots), rounds)
            self._streams[stream.key] = stream
            rounds.mark(stream)
        elif subscription.cursor < stream.cursor:
            return False
        stream.live.add(subscription)
        subscription.live = True
        return True

    def detach(self, subscription: Subscription) -> None:
        """Take it out of the live set. A stream that nobody follows is forgotten."""
        if subscription.live:
            subscription.live = False
            stream = self._streams[subscription.key]
            stream.live.discard(subscription)
            if not stream.live:
                del self._streams[subscription.key]

    def opened(self, subscription: Subscription) -> None:
        if self._draining:
            raise StreamBroken("the gateway is draining")
        self._open.add(subscription)

    def closed(self, subscription: Subscription) -> None:
        self.detach(subscription)
        self._open.discard(subscription)

    def tell_waiting(self, events_key: str, text: bytes) -> bool:
        """Say something that is no entry to those who wait for the first one; whether there are any."""
        stream = self._streams.get(events_key.encode())
        waiting = [one for one in stream.live if one.waits and one.cursor == BEGINNING] if stream is not None else []
        for subscription in waiting if text else ():
            subscription.say(text)
        return bool(waiting)

    # Fanning out.

    def _invalidated(self, push: list[Any]) -> None:
        if push[0] != b"invalidate":
            return
        if push[1] is None:
            for each in self._streams.values():
                each.rounds.mark(each)
            return
        for key in push[1]:
            stream = self._streams.get(key)
            if stream is not None:
                stream.rounds.mark(stream)

    def _came_up(self, rounds: Rounds) -> None:
        """A wire is a new one: what is read by it may have been lost."""
        for stream in list(self._streams.values()):
            if stream.rounds is rounds and stream.page_type.doubted:
                self._break(stream.live, "Redis was away")
        self._all_dirty(rounds)

    def _all_dirty(self, rounds: Rounds) -> None:
        """Of one server: its wire is a new one."""
        for stream in self._streams.values():
            if stream.rounds is rounds:
                rounds.keep(stream)
        rounds.plan()

    def _rehome_all(self) -> None:
        """Slots are elsewhere: their streams are read there, whatever was announced to us."""
        for stream in self._streams.values():
            rounds = self._servers.rounds_of(stream.key)
            if rounds is not stream.rounds:
                stream.rounds = rounds
                rounds.mark(stream)

    def _read_dirty(self, rounds: Rounds, stream: Stream) -> None:
        """Of one round: ask for what is new in one stream."""
        if not stream.live:
            return
        if stream.rounds is not rounds:
            stream.rounds.mark(stream)
        elif stream.is_new:
            stream.is_new = False
            self._ask(read_newest(stream.key), stream, self._take_newest)
        else:
            self._ask(read_after(stream.key, stream.cursor, stream.count), stream, self._take)

    def _ask(self, command: bytes, stream: Stream, take: Take) -> None:
        rounds = stream.rounds
        rounds.ask(command, partial(self._answered, rounds, command, stream, stream.cursor, take))

    def _answered(
        self, rounds: Rounds, command: bytes, stream: Stream, cursor: EntryId, take: Take, reply: Reply
    ) -> None:
        rounds.answered()
        try:
            if isinstance(reply, Exception):
                self._refused(rounds, command, stream, take, reply)
            elif not stream.live:
                pass
            elif stream.rounds is rounds and stream.cursor == cursor:
                take(stream, reply)
            else:  # it is read elsewhere by now
                stream.rounds.mark(stream)
        except BeginningLost as lost:
            self._break(stream.live, str(lost))
        except Exception as error:  # noqa: BLE001 - one unreadable stream must not cost the others the connection
            get_logger().exception("stream_unreadable", key=stream.key.decode())
            self._break(stream.live, f"unreadable: {error!r}")
        rounds.plan()

    def _refused(self, rounds: Rounds, command: bytes, stream: Stream, take: Take, error: Exception) -> None:
        found = self._servers.elsewhere(rounds, stream.key, error)
        if isinstance(found, Asking):
            self._ask_on_its_way(found.rounds, rounds, command, stream, take)
        elif found is not None:
            stream.rounds = found
            found.mark(stream)
        elif stream.rounds is not rounds:  # it is read elsewhere by now
            stream.rounds.mark(stream)
        else:
            rounds.keep(stream)
            self._judge(rounds, stream, error)

    def _judge(self, rounds: Rounds, stream: Stream, error: Exception) -> None:
        if isinstance(error, hiredis.ReplyError):
            if str(error).startswith("WRONGTYPE"):
                self._break(stream.live, str(error))
            else:
                get_logger().warning("redis_refused", reason=str(error))
                rounds.uplink.reset()

    def _ask_on_its_way(self, there: Rounds | None, rounds: Rounds, command: bytes, stream: Stream, take: Take) -> None:
        """Its slot is being moved, and the key has gone before it; the slot's owner is still the old one."""
        if there is None or not there.uplink.up:
            self._loop.call_later(_AGAIN_SECONDS, self._mark, stream)
        else:
            rounds.wait_for_another()
            ask_there(there, command, partial(self._answered, rounds, command, stream, stream.cursor, take))

    def _mark(self, stream: Stream) -> None:
        if stream.live:
            stream.rounds.mark(stream)

    def _take(self, stream: Stream, reply: Reply) -> None:
        page = self._reader.page(stream.page_type, stream.cursor, reply, stream.count)
        if page.full:
            stream.count = next_count(page, stream.count)
        if page.entries:
            self._deliver(stream, page)
        elif stream.cursor != BEGINNING:
            # Changed, and nothing new: a TTL was set, or the stream is gone.
            self._ask(read_newest(stream.key), stream, self._take_newest)

    def _deliver(self, stream: Stream, page: Page) -> None:
        for piece in page.pieces():
            # Before the first write: whatever happens to one subscriber, the others' next read begins after this.
            stream.cursor = piece.last
            for subscription in tuple(stream.live):
                subscription.accept(piece)
        if page.full and stream.live:
            stream.rounds.keep(stream)

    def _take_newest(self, stream: Stream, reply: Reply) -> None:
        if not is_standing(stream.page_type, reply, stream.cursor):
            stream.rounds.keep(stream)

    def _break(self, subscriptions: set[Subscription], reason: str) -> None:
        for subscription in tuple(subscriptions):
            subscription.break_off(reason)

    # Keeping alive and ending.

    async def _send_heartbeats(self) -> None:
        """Say something to everybody every `heartbeat_seconds`, a share of the streams at a time."""
        for slot in itertools.cycle(range(_HEARTBEAT_SLOTS)):
            await asyncio.sleep(self._heartbeat_seconds / _HEARTBEAT_SLOTS)
            self._servers.check()
            if not self._servers.up:
                self._break(self._cut_off(), "Redis is away")
            for stream in [stream for stream in self._streams.values() if stream.heartbeat_slot == slot]:
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
            streams=len(self._streams),
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
