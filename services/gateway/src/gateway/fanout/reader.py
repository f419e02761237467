"""Pages of a stream, out of Redis.

Guarantees: a page follows its cursor without a gap, or the reading raises `BeginningLost`; of one reading at most
PAGE_BYTES are kept, or a single entry; a storm of replays never stands between Redis and those who are live, because
only some of them read at a time.
"""

import asyncio
from functools import partial

from gateway.fanout.follow import FIRST_ENTRIES, MOST_ENTRIES, Follow, Size, next_count
from gateway.fanout.frames import BEGINNING, PAGE_BYTES, BeginningLost, EntryId, Page, RawEntry, parse_id, shortened
from gateway.fanout.redis_wire import Reply, pack
from gateway.fanout.servers import Servers

_XREAD = b"*6\r\n$5\r\nXREAD\r\n$5\r\nCOUNT\r\n$%d\r\n%d\r\n$7\r\nSTREAMS\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n"
_MEMORY = b"*5\r\n$6\r\nMEMORY\r\n$5\r\nUSAGE\r\n$%d\r\n%b\r\n$7\r\nSAMPLES\r\n$1\r\n0\r\n"
_SMALL_BYTES = 4 * PAGE_BYTES
# The entries that are kept of a reading, their size, and how many it had.
Stored = tuple[list[RawEntry], int, int]
# More of them only push one another out of the processor's caches: 32 cost a storm a quarter more than 8.
_REPLAYS_AT_ONCE = 8


class StreamEnded(Exception):
    """The cursor is at or past the terminal entry: there is nothing to follow."""


class Reader:
    """Reads for those who join or catch up. All methods raise RedisUnavailable when Redis is away for too long."""

    def __init__(self, servers: Servers, join_seconds: float) -> None:
        self.entries_read = self.unknown_types = 0
        self._servers = servers
        self._join_seconds = join_seconds
        self._replays = asyncio.Semaphore(_REPLAYS_AT_ONCE)

    async def first(self, follow: Follow) -> tuple[Page, int]:
        """The page that a new subscriber begins with, and how many visible entries of it to leave out.

        Raises BeginningLost, StreamEnded.
        """
        skip, count = follow.start_index or 0, await self._first_count(follow)
        page = await self._at_cursor(follow, count)
        if skip and page.entries and parse_id(page.entries[0][0])[0] > 1:
            # Perhaps it was rebuilt, in other chunks than those that were counted.
            raise BeginningLost(BEGINNING)
        while skip and page.entries:
            seen = sum(1 for _ in page.visible(follow.view))
            if page.ended and seen <= skip:
                raise StreamEnded
            if not page.full or seen > skip:
                break
            skip -= seen
            count = next_count(page, count)
            page = await self._read(follow, page.last, count)
        return page, skip

    def measure(self, key: bytes) -> Size:
        """Ask how large a stream is, in the same write as what else is asked now. Whoever never looks owes nothing."""
        size: Size = asyncio.get_running_loop().create_future()

        def on_reply(reply: Reply) -> None:
            if not size.done():
                # An error: Redis is away, and reading will tell; or a server, or a proxy, does not say such things.
                size.set_result(None if isinstance(reply, Exception) else reply or 0)

        self._servers.ask(key, _MEMORY % (len(key), key), on_reply)
        return size

    async def _first_count(self, follow: Follow) -> int:
        """A stream that is small as a whole can be read in few readings; of others nobody knows how large the entries
        are, and the first reading is a short one."""
        size = await (follow.size or self.measure(follow.events_key.encode()))
        return MOST_ENTRIES if size is not None and size <= _SMALL_BYTES else FIRST_ENTRIES

    async def _at_cursor(self, follow: Follow, count: int) -> Page:
        cursor = BEGINNING if follow.start_index is not None else follow.cursor
        while True:
            page = await self._read(follow, cursor, count)
            if page.entries or (cursor == BEGINNING and follow.wait_for_start):
                return page
            if cursor == BEGINNING:
                raise BeginningLost(BEGINNING)
            key = follow.events_key.encode()
            newest = await self._servers.fetch(key, read_newest(key), patience_seconds=self._join_seconds)
            if not newest and follow.page_type.restarts:
                return follow.page_type(BEGINNING, [], 0)
            if is_standing(follow.page_type, newest, cursor):
                if follow.page_type.is_terminal(follow.page_type.entries_of(newest)[0]):
                    raise StreamEnded
                return page

    async def _read(self, follow: Follow, after: EntryId, count: int) -> Page:
        key = follow.events_key.encode()
        return await self.after(follow.page_type, key, after, count, patience_seconds=self._join_seconds)

    async def after(
        self, page_type: type[Page], key: bytes, cursor: EntryId, count: int, *, patience_seconds: float
    ) -> Page:
        """Raises BeginningLost."""
        async with self._replays:
            take, reading = partial(_stored, page_type), read_after(key, cursor, count)
            stored = await self._servers.fetch(key, reading, patience_seconds=patience_seconds, take=take)
        return self._page(page_type, cursor, stored, count)

    def page(self, page_type: type[Page], cursor: EntryId, reply: Reply, count: int) -> Page:
        """The page that an XREAD of one key has answered."""
        return self._page(page_type, cursor, _stored(page_type, reply), count)

    def _page(self, page_type: type[Page], cursor: EntryId, stored: Stored, count: int) -> Page:
        entries, size, answered = stored
        page = page_type(cursor, entries, size, full=answered == count or len(entries) < answered)
        self.entries_read += len(entries)
        self.unknown_types += page.unknown
        return page


def _stored(page_type: type[Page], reply: Reply) -> Stored:
    """What is kept of an XREAD's reply. It is called before the next reply is read, so that one at a time is whole."""
    entries: list[RawEntry] = next(iter(reply.values())) if reply else []
    return *shortened(page_type.entries_of(entries)), len(entries)


def read_after(key: bytes, after: EntryId, count: int) -> bytes:
    """A packed XREAD. It is the hot path: this is a tenth of what hiredis takes to pack it."""
    cursor = b"%d-%d" % after
    return _XREAD % (len(b"%d" % count), count, len(key), key, len(cursor), cursor)


def read_newest(key: bytes) -> bytes:
    return pack(b"XREVRANGE", key, b"+", b"-", b"COUNT", b"1")


def is_standing(page_type: type[Page], newest: list[RawEntry], cursor: EntryId) -> bool:
    """Whether a cursor after which nothing was read is the end of its stream; False when more has come just now.

    Raises BeginningLost when the stream is gone, or another one that ends before the cursor.
    """
    last = parse_id(newest[0][0]) if newest else BEGINNING
    if newest and last <= cursor and page_type.is_terminal(page_type.entries_of(newest)[0]):
        return True
    if last < cursor:
        raise BeginningLost(BEGINNING)
    return last == cursor
