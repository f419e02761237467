"""Whether what should be in a queue is in it, also where it was released, and whether somebody alive has it.

A worker that releases an entry puts a new one into the queue, under another id than the one that was noted. An entry
whose noted id is gone is therefore looked for among those behind it, by what it is for: a release is one script,
so an entry is always in one of the two places.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain

from sluiceway.queue.partitions import mark_of, placed
from sluiceway.queue.work_queue import LANE, Producer
from sluiceway.wire.entry_id import EntryId, format_entry_id, parse_entry_id

_PAGE = 1000
# Behind so many others an entry is not looked for: a second one is harmless, as workers drop it.
_MOST_PAGES = 10
_FIRST, _LAST = (0, 0), (2**64, 0)


@dataclass(frozen=True, slots=True)
class Found:
    """Ids of what has its entry: `noted`, as noted; `moved`, in another one. What is in neither has none.
    `held`: the noted entries that are in flight under a lease that has not run out."""

    noted: frozenset[str]
    moved: Mapping[str, str]
    held: frozenset[str]

    def __contains__(self, key: str) -> bool:
        return key in self.noted or key in self.moved


class Entries:
    """Of one queue. `field`: which field of an entry's job says what it is for."""

    def __init__(self, queue: Producer, field: str, lease: timedelta) -> None:
        self._queue = queue
        self._field = field
        self._lease = lease

    async def find(self, noted: Mapping[str, Sequence[str]]) -> Found:
        """`noted`: ids, and the entries that were noted for each, at least one. Raises RedisUnavailable."""
        states = await self._queue.states({one for entries in noted.values() for one in entries}, self._lease)
        gone = {key: ids for key, ids in noted.items() if all(states[one].where == "gone" for one in ids)}
        held = frozenset(entry_id for entry_id, state in states.items() if state.held)
        return Found(frozenset(noted.keys() - gone.keys()), await self._moved(gone), held)

    async def _moved(self, gone: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """What was released is in the partition that it was in."""
        first: dict[int, EntryId] = {}
        for partition, there in map(placed, chain.from_iterable(gone.values())):
            first[partition] = min(first.get(partition, _LAST), _position(there))
        moved: dict[str, str] = {}
        for partition, position in first.items():
            moved |= await self._moved_in(partition, position, gone)
        return moved

    async def _moved_in(self, partition: int, first: EntryId, gone: Collection[str]) -> dict[str, str]:
        moved: dict[str, str] = {}
        after = format_entry_id(first) + mark_of(partition)
        for _ in range(_MOST_PAGES):
            page = await self._queue.after(after, _PAGE)
            for entry_id, body in page:
                key = self._key_of(body)
                if key in gone:
                    moved[key] = entry_id
            if len(page) < _PAGE:
                break
            after = page[-1][0]
        return moved

    def _key_of(self, body: bytes) -> str:
        try:
            return str(json.loads(body)[self._field])
        except (ValueError, TypeError, KeyError):
            return ""


def _position(entry_id: str) -> EntryId:
    """Of an entry that was in a lane: when it came there, as it went into the queue after that. What is no entry id,
    and that nobody of ours has noted, stands before all entries."""
    try:
        return parse_entry_id(entry_id.removeprefix(LANE))
    except ValueError:
        return _FIRST
