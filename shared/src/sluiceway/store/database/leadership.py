"""One leader among many processes: a session of Postgres that holds an advisory lock, and has to send heartbeats.

Guarantees
- A leader that dies, is frozen, or whose machine or network vanishes is replaced within `SILENCE`, plus the second in
  which the others ask again: Postgres ends a session that was silent for so long, and the lock goes with it.
- A leader that wakes up again knows that it does not lead before it has asked anybody: `leads` compares the clock with
  its last heartbeat, and gives up before Postgres does.
- A leader that ends leaves nothing behind: the lock is the session's, and goes with it.
Not guaranteed: that what a leader began has ended when the next one begins, and that there is one only while Postgres
itself restarts. What leaders do must be harmless when two do it.
"""

import asyncio
import contextlib
import time
from datetime import timedelta
from typing import TYPE_CHECKING
from zlib import crc32

from sluiceway.errors import StoreUnavailable
from sluiceway.store.database.pool import Pool, store_errors

if TYPE_CHECKING:
    import asyncpg

# How long a leader may say nothing. `idle_session_timeout` needs Postgres 14.
SILENCE = timedelta(seconds=5)
_CLASS = 7305
# The rest is for clocks that do not run alike.
_TRUST_SECONDS = SILENCE.total_seconds() * 0.8
_ANSWER_SECONDS = 2


class Leadership:
    """This process's candidacy. Call `stand` every second; what a leader does, it does while `leads`."""

    def __init__(self, pool: Pool, name: str) -> None:
        self._pool = pool
        self._key = crc32(name.encode()) & 0x7FFFFFFF
        self._session: asyncpg.Connection[asyncpg.Record] | None = None
        self._elected = False
        self._heartbeat_at = float("-inf")

    @property
    def leads(self) -> bool:
        """Whether this process leads at this moment, as far as can be known without asking."""
        heard = time.monotonic() - self._heartbeat_at < _TRUST_SECONDS
        return self._elected and heard and self._session is not None and not self._session.is_closed()

    async def stand(self) -> bool:
        """Become the leader where there is none, or stay the leader; whether it leads. Raises StoreUnavailable."""
        sent = time.monotonic()
        try:
            async with store_errors(), asyncio.timeout(_ANSWER_SECONDS):
                self._elected = await self._ask(await self._open())
        except BaseException:
            self._leave()
            raise
        self._heartbeat_at = sent
        return self._elected

    async def resign(self) -> None:
        """Let another lead at once. A Postgres that is away finds out by itself."""
        session, self._session, self._elected = self._session, None, False
        if session is not None:
            with contextlib.suppress(StoreUnavailable):
                async with store_errors():
                    await session.close(timeout=_ANSWER_SECONDS)

    async def _ask(self, session: "asyncpg.Connection[asyncpg.Record]") -> bool:
        """Locks of a session are counted, so a leader does not take its own again."""
        if self._elected:
            return bool(await session.fetchval("SELECT true"))
        return bool(await session.fetchval("SELECT pg_try_advisory_lock($1, $2)", _CLASS, self._key))

    async def _open(self) -> "asyncpg.Connection[asyncpg.Record]":
        if self._session is None or self._session.is_closed():
            self._elected = False
            self._session = await self._pool.lasting_connection()
            silence_ms = int(SILENCE.total_seconds() * 1000)
            await self._session.execute(f"SET idle_session_timeout = {silence_ms}")
        return self._session

    def _leave(self) -> None:
        """What is not known to be held is not held: the session ends, and the lock with it."""
        session, self._session, self._elected = self._session, None, False
        if session is not None:
            session.terminate()
