"""Whether Postgres takes a turn now: asked by what a turn would wait for, and changing nothing."""

import asyncpg

from sluiceway.errors import StoreUnavailable
from sluiceway.store.database.pool import Pool

# As an INSERT or UPDATE locks them. It waits behind whoever has locked a table, and is in nobody's way.
_LOCK = "LOCK TABLE sessions, messages, tasks, operations IN ROW EXCLUSIVE MODE"
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
            await connection.execute(f"SET LOCAL lock_timeout = {max(1, round(seconds * 1000))}")
            await connection.execute(_LOCK)
    except StoreUnavailable as error:
        if not isinstance(error.__cause__, asyncpg.LockNotAvailableError):
            raise
        async with pool.connection() as connection:
            holders = await connection.fetchval(_HOLDERS)
        raise StoreUnavailable(f"writes wait for a lock: on {holders or 'a table'}") from error
