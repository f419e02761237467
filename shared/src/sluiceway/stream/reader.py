"""Reading task streams for recovery. Followers read them through the gateway's hub.

Methods raise RedisUnavailable when Redis is away.
"""

from redis.asyncio import Redis

from sluiceway import keys
from sluiceway.redis.client import command, on_each_primary
from sluiceway.scripts import source
from sluiceway.stream.entry import Entry
from sluiceway.wire.entry_id import EntryId, parse_entry_id

_PAGE_ENTRIES = 1000


class TaskReader:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def read(self, task_id: str) -> list[Entry]:
        """The whole stream, in order."""
        entries: list[Entry] = []
        after = "0-0"
        while True:
            answer = await command(
                self._redis, "XRANGE", keys.task_events(task_id), f"({after}", "+", "COUNT", _PAGE_ENTRIES
            )
            for raw_id, fields in answer:
                after = raw_id.decode()
                entries.append(Entry.parse(after, fields))
            if len(answer) < _PAGE_ENTRIES:
                return entries

    async def page(self, task_id: str, after: EntryId, limit: int) -> list[tuple[EntryId, str, bytes]]:
        """So many entries after that one, as they are stored: id, type, JSON."""
        found = await command(
            self._redis, "XRANGE", keys.task_events(task_id), f"({after[0]}-{after[1]}", "+", "COUNT", limit
        )
        return [(parse_entry_id(entry.decode()), fields[b"t"].decode(), fields[b"d"]) for entry, fields in found]

    async def last_id(self, task_id: str) -> EntryId | None:
        entries = await command(self._redis, "XREVRANGE", keys.task_events(task_id), "+", "-", "COUNT", 1)
        return parse_entry_id(entries[0][0].decode()) if entries else None

    async def reached(self, task_id: str) -> str:
        """How far the model's answer was shown, in the writer's own words; "" where nothing is known of that."""
        return (await command(self._redis, "HGET", keys.task_meta(task_id), "reached") or b"").decode()

    async def replication_ids(self) -> frozenset[str]:
        """The replication id of the server, or those of all primaries of a cluster. One that is gone means a failover
        or a restart, and that the last writes of the streams that name it may be gone."""
        told = await on_each_primary(self._redis, "EVAL", source("stream/replication_id"), 0)
        return frozenset(one.decode() for one in told)
