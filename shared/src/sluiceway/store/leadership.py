"""One leader among many processes, by an advisory lock: it is gone with its connection, however the process ends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from zlib import crc32

from sluiceway.store.pool import Pool, advisory_lock

_CLASS = 7305


class Leadership:
    def __init__(self, pool: Pool, name: str) -> None:
        self._pool = pool
        self._key = crc32(name.encode()) & 0x7FFFFFFF

    @asynccontextmanager
    async def try_lead(self) -> AsyncIterator[bool]:
        """Whether this process is the leader for as long as the context lasts. Raises StoreUnavailable."""
        async with (
            self._pool.connection() as connection,
            advisory_lock(
                connection, "pg_try_advisory_lock($1, $2)", "pg_advisory_unlock($1, $2)", _CLASS, self._key
            ) as leads,
        ):
            yield leads
