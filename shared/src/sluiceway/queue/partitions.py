"""Partitions of a work queue: which one an entry goes to, is in, and which have anything.

Guarantees: what has the same name goes to the same partition, in every process that has as many of them. An entry's id
says where it is, so it is found however many there are by now. That of partition 0 says nothing: it is what it was
before there were partitions.
"""

import re
import zlib
from collections.abc import Sequence

from redis.asyncio import Redis

from sluiceway import keys
from sluiceway.redis.client import commands

_PLACED = re.compile(r"(.*)@([1-9][0-9]?)", re.DOTALL)


def partition_for(name: bytes, partitions: int) -> int:
    return zlib.crc32(name) % partitions


def mark_of(partition: int) -> str:
    """What the ids of its entries end with."""
    return f"@{partition}" if partition else ""


def placed(entry_id: str) -> tuple[int, str]:
    """The partition that an entry is in, and its id there."""
    found = _PLACED.fullmatch(entry_id)
    if found is None or int(found[2]) >= keys.MOST_PARTITIONS:
        return 0, entry_id
    return int(found[2]), found[1]


def by_partition(entry_ids: Sequence[str]) -> dict[int, list[str]]:
    """Their ids there."""
    found: dict[int, list[str]] = {}
    for entry_id in entry_ids:
        partition, there = placed(entry_id)
        found.setdefault(partition, []).append(there)
    return found


def partition_of(queue: str) -> int:
    """From its key."""
    return int(queue.rpartition(":")[2])


async def partitions_in_use(redis: Redis, kinds: Sequence[str], at_least: int = 1) -> list[tuple[int, ...]]:
    """Of each kind the first ones, and every other one with an entry: the number was another, or is elsewhere. Raises
    RedisUnavailable."""
    others = range(at_least, keys.MOST_PARTITIONS)
    names = [
        name
        for kind in kinds
        for partition in others
        for name in (keys.work_queue(kind, partition), keys.lane_entries(kind, partition))
    ]
    answers = iter(await commands(redis, [("XLEN", name) for name in names]))
    lengths = zip(answers, answers, strict=True)
    return [
        (*range(at_least), *[other for other, told in zip(others, lengths, strict=False) if _any(told)]) for _ in kinds
    ]


def _any(lengths: Sequence[object]) -> bool:
    return any(isinstance(length, int) and length for length in lengths)
