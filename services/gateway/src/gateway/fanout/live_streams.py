"""The streams that are followed live, and how what is new in them reaches everybody who follows.

Guarantees: whoever is attached gets every entry behind its cursor once, in order, also where the wire to Redis is made
anew or the stream's slot moves; a stream that cannot be read costs its own followers their stream, and nobody else.

Reading a key on a connection with CLIENT TRACKING asks Redis for one message at its next change. Such a message makes
a stream dirty; all dirty streams are read in one round trip of single-key XREADs, and what changes meanwhile makes the
next round. So batches form by themselves, and silent streams cost nothing.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import hiredis
from sluiceway.process.logs import get_logger

from gateway.fanout.cluster_servers import ClusterServers, ask_there
from gateway.fanout.follow import FIRST_ENTRIES, next_count
from gateway.fanout.frames import BEGINNING, BeginningLost, EntryId, Page
from gateway.fanout.reader import Reader, is_standing, read_after, read_newest
from gateway.fanout.redis_wire import OnReply, Reply
from gateway.fanout.rounds import Rounds
from gateway.fanout.servers import Asking, OneServer, Servers, is_cluster
from gateway.fanout.subscriber import Subscription

HEARTBEAT_SLOTS = 16
_AGAIN_SECONDS = 0.03


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


class LiveStreams:
    """`servers` has the wires that they are read by, `reader` the counts. Made in the event loop that runs it."""

    def __init__(self, redis_url: str, *, name: str, reply_seconds: float, join_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._streams: dict[bytes, Stream] = {}
        self._slots = itertools.cycle(range(HEARTBEAT_SLOTS))
        self.servers = self._open_servers(redis_url, name, reply_seconds)
        self.reader = Reader(self.servers, join_seconds)

    def __len__(self) -> int:
        return len(self._streams)

    def in_slot(self, slot: int) -> list[Stream]:
        """The share of them that hears a heartbeat now."""
        return [stream for stream in self._streams.values() if stream.heartbeat_slot == slot]

    def _open_servers(self, redis_url: str, name: str, reply_seconds: float) -> Servers:
        if is_cluster(redis_url):
            return ClusterServers(
                redis_url,
                name=name,
                reply_seconds=reply_seconds,
                on_push=self._invalidated,
                on_up=self._came_up,
                on_rehomed=self._rehome_all,
                read=self._read_dirty,
            )
        return OneServer(
            redis_url,
            name=name,
            reply_seconds=reply_seconds,
            on_push=self._invalidated,
            on_up=self._came_up,
            read=self._read_dirty,
        )

    def attach(self, subscription: Subscription) -> bool:
        """Take it into the live set. False when the set is already ahead: it has to read again."""
        stream = self._streams.get(subscription.key)
        if stream is None:
            rounds = self.servers.rounds_of(subscription.key)
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

    def tell_waiting(self, events_key: str, text: bytes) -> bool:
        """Say something that is no entry to those who wait for the first one; whether there are any."""
        stream = self._streams.get(events_key.encode())
        waiting = [one for one in stream.live if one.waits and one.cursor == BEGINNING] if stream is not None else []
        for subscription in waiting if text else ():
            subscription.say(text)
        return bool(waiting)

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
        for stream in [stream for stream in self._streams.values() if stream.rounds is rounds]:
            if stream.page_type.doubted:
                break_off(stream.live, "Redis was away")
            rounds.keep(stream)
        rounds.plan()

    def _rehome_all(self) -> None:
        """Slots are elsewhere: their streams are read there, whatever was announced to us."""
        for stream in self._streams.values():
            rounds = self.servers.rounds_of(stream.key)
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
                self._refused(rounds, command, stream, cursor, take, reply)
            elif not stream.live:
                pass
            elif stream.rounds is rounds and stream.cursor == cursor:
                take(stream, reply)
            else:  # it is read elsewhere by now
                stream.rounds.mark(stream)
        except BeginningLost as lost:
            break_off(stream.live, str(lost))
        except Exception as error:  # noqa: BLE001 - one unreadable stream must not cost the others the connection
            get_logger().exception("stream_unreadable", key=stream.key.decode())
            break_off(stream.live, f"unreadable: {error!r}")
        rounds.plan()

    def _refused(
        self, rounds: Rounds, command: bytes, stream: Stream, cursor: EntryId, take: Take, error: Exception
    ) -> None:
        found = self.servers.elsewhere(rounds, stream.key, error)
        if isinstance(found, Asking):
            on_reply = partial(self._answered, rounds, command, stream, cursor, take)
            self._ask_on_its_way(found.rounds, rounds, command, stream, on_reply)
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
                break_off(stream.live, str(error))
            else:
                get_logger().warning("redis_refused", reason=str(error))
                rounds.uplink.reset()

    def _ask_on_its_way(
        self, there: Rounds | None, rounds: Rounds, command: bytes, stream: Stream, on_reply: OnReply
    ) -> None:
        """Its slot is being moved, and the key has gone before it; the slot's owner is still the old one."""
        if there is None or not there.uplink.up:
            self._loop.call_later(_AGAIN_SECONDS, self._mark, stream)
        else:
            rounds.wait_for_another()
            ask_there(there, command, on_reply)

    def _mark(self, stream: Stream) -> None:
        if stream.live:
            stream.rounds.mark(stream)

    def _take(self, stream: Stream, reply: Reply) -> None:
        page = self.reader.page(stream.page_type, stream.cursor, reply, stream.count)
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


def break_off(subscriptions: Iterable[Subscription], reason: str) -> None:
    for subscription in tuple(subscriptions):
        subscription.break_off(reason)
