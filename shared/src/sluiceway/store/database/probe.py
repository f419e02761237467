"""Whether Postgres takes a turn now: asked by what a turn would wait for, and changing nothing."""

import asyncpg

from sluiceway.errors import StoreUnavailable
from sluiceway.store.database.pool import Connection, Pool
from sluiceway.store.database.suitability import read_only

# As an INSERT or UPDATE locks them. It waits behind whoever has locked a table, and is in nobody's way.
_LOCK = "LOCK TABLE sessions, messages, tasks, operations IN ROW EXCLUSIVE MODE"
_BEGIN = (
    "SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only')::boolean AS read_only,"
    " set_config('lock_timeout', $1, true)"
)
_HOLDERS = (
    "SELECT string_agg(DISTINCT format('%s, held by process %s (%s)', c.relname, l.pid, a.application_name), '; ')"
    " FROM pg_locks l JOIN pg_class c ON c.oid = l.relation LEFT JOIN pg_stat_activity a ON a.pid = l.pid"
    " WHERE l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND c.relname IN ('sessions', 'messages', 'tasks', 'operations') AND l.pid <> pg_backend_pid()"
    " AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')"
)


async def check_writable(pool: Pool, seconds: float) -> None:
    """Raises StoreUnavailable, whose text is for a person."""
    try:
        async with pool.transaction() as connection:
            await _lock(connection, seconds)
    except StoreUnavailable as error:
        if not isinstance(error.__cause__, asyncpg.LockNotAvailableError):
            raise
        async with pool.connection() as connection:
            holders = await connection.fetchval(_HOLDERS)
        raise StoreUnavailable(f"writes wait for a lock: on {holders or 'a table'}") from error


async def _lock(connection: Connection, seconds: float) -> None:
    """A server that is read-only gives the lock all the same."""
    refusal = read_only(dict(*await connection.fetch(_BEGIN, str(max(1, round(seconds * 1000))))))
    if refusal is not None:
        raise StoreUnavailable(refusal)
    await connection.execute(_LOCK)
