"""The reconciler's look at the object store: what no row names any more is removed, what was never finished given up.

Guarantees: the object of a file that went, with its session or by itself, is removed within a round, and again until it
is; whoever died between a row and its object leaves neither for ever. Objects that no row ever named (a Postgres that
went back) are found by a walk through the whole store, now and then.
"""

import time
from collections.abc import AsyncIterator
from datetime import timedelta

from sluiceway.files.objects import FileObjects
from sluiceway.process.logs import get_logger
from sluiceway.store import Store

from completion_consumer.reconciler.round import Round

_AT_ONCE = 200
_LOOK_SECONDS = 60.0
_WALK_SECONDS = 6 * 3600.0
# Longer than an upload may take.
_UNFINISHED = timedelta(hours=1)
# Of one machine's clock and another's disk.
_STAGED = timedelta(days=1)


class StoredFiles:
    """`unused_for`: how long an upload waits for a message to name it."""

    def __init__(self, store: Store, objects: FileObjects, unused_for: timedelta) -> None:
        self._store = store
        self._objects = objects
        self._unused_for = unused_for
        self._look_at = self._walk_at = 0.0
        self._walk: AsyncIterator[list[str]] | None = None
        self._log = get_logger()

    async def look(self, current: Round) -> None:
        """Raises LeadershipLost."""
        if self._objects.on:
            await current.part("files", self._remove)
            await current.part("unattached_files", self._drop)
            await current.part("stray_objects", self._walk_on)

    async def _remove(self, current: Round) -> None:
        due = await self._store.files.removals(_AT_ONCE, current.quarantined_ids("files"))
        await current.each("files", {file_id: file_id for file_id in due}, self._remove_one)

    async def _remove_one(self, file_id: str) -> str | None:
        async with self._store.files.removing(file_id) as unwanted:
            if unwanted:
                await self._objects.remove(file_id)
        return "file_removed" if unwanted else None

    async def _drop(self, current: Round) -> None:
        if time.monotonic() < self._look_at:
            return
        found = await self._store.files.drop_unattached(self._unused_for, _UNFINISHED, _AT_ONCE)
        if found < _AT_ONCE:
            self._look_at = time.monotonic() + _LOOK_SECONDS
        if found:
            current.count("file_dropped", found)

    async def _walk_on(self, current: Round) -> None:
        """A page of the store in a round, so that a large one holds nobody up."""
        if self._walk is None:
            if time.monotonic() < self._walk_at:
                return
            await self._objects.remove_staged(_STAGED)
            self._walk = self._objects.listed(_AT_ONCE)
        try:
            page = await anext(self._walk, None)
        except BaseException:
            self._end_walk()
            raise
        if page is None:
            self._end_walk()
            return
        # A row is there before its object: what has none now has none any more.
        for file_id in await self._store.files.note_strays(page):
            current.count("stray_object")
            self._log.warning("stray_object", file_id=file_id)

    def _end_walk(self) -> None:
        self._walk, self._walk_at = None, time.monotonic() + _WALK_SECONDS
