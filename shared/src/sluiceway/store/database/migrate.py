"""Schema migrations: forward-only SQL files, applied in order of their names, each in a transaction, under an
advisory lock, so that any number of processes may start at once.

A new version of one service works beside the old version of another: a migration only adds. An applied file must not
change; its checksum is compared. `python -m sluiceway.migrate` applies them by hand.

A role that may not change the schema is enough where nothing is missing. A migration that has to wait for somebody's
lock gives up after `_LOCK_SECONDS` and tries again: everybody who comes after it would wait behind it meanwhile. One
that Postgres ended to break a deadlock tries again, too.
"""

import asyncio
from hashlib import sha256
from importlib import resources

import asyncpg

from sluiceway.backoff import Backoff
from sluiceway.errors import SluicewayError, StoreRefuses
from sluiceway.process.logs import get_logger
from sluiceway.store.database.pool import AnyConnection, Pool, advisory_lock

# Any fixed number, known to nobody else in this database.
_LOCK = 7_305_804_402_001
_LONGEST_SECONDS = 3600
_LOCK_SECONDS = 2
_LOCK_ATTEMPTS = 100
_Applied = dict[str, str]


_NEEDS_THE_OWNER = (
    "the schema is older than this version, and the role of DATABASE_URL may not change it ({error}):"
    " run `python -m sluiceway.migrate` as the owner of the tables"
)


class MigrationChanged(SluicewayError):
    """An applied migration has another text now."""


def migrations() -> list[tuple[str, str]]:
    """(name, SQL), in order."""
    files = (resources.files("sluiceway.store") / "migrations").iterdir()
    return sorted((file.name, file.read_text()) for file in files if file.name.endswith(".sql"))


async def migrate(pool: Pool) -> list[str]:
    """Apply what is missing; answer the names applied. Raises StoreUnavailable, StoreRefuses, MigrationChanged."""
    async with pool.session() as connection:
        if not _missing(await _known(connection)):
            return []
        async with advisory_lock(connection, "pg_advisory_lock($1)", "pg_advisory_unlock($1)", _LOCK):
            try:
                return await _apply_missing(connection)
            except asyncpg.InsufficientPrivilegeError as error:
                raise StoreRefuses(_NEEDS_THE_OWNER.format(error=error.args[0])) from None


async def is_current(pool: Pool) -> bool:
    """Whether every migration that this version knows was applied (a newer version's may have been, too)."""
    async with pool.connection() as connection:
        try:
            rows = await connection.fetch("SELECT name FROM schema_migrations")
        except asyncpg.UndefinedTableError:
            return False
    return {name for name, _ in migrations()} <= {row["name"] for row in rows}


async def _known(connection: AnyConnection) -> _Applied:
    """Checksums of those that were applied, by name."""
    try:
        rows = await connection.fetch("SELECT name, checksum FROM schema_migrations")
    except asyncpg.UndefinedTableError:
        return {}
    return {row["name"]: row["checksum"] for row in rows}


def _missing(known: _Applied) -> list[tuple[str, str, str]]:
    """(name, SQL, checksum), in order. Raises MigrationChanged."""
    found = []
    for name, sql in migrations():
        checksum = sha256(sql.encode()).hexdigest()
        if known.get(name, checksum) != checksum:
            raise MigrationChanged(f"migration {name} was applied with another text: add a new file instead")
        if name not in known:
            found.append((name, sql, checksum))
    return found


async def _apply_missing(connection: AnyConnection) -> list[str]:
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations"
        " (name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    missing = _missing(await _known(connection))
    for name, sql, checksum in missing:
        await _apply(connection, name, sql, checksum)
    return [name for name, _, _ in missing]


async def _apply(connection: AnyConnection, name: str, sql: str, checksum: str) -> None:
    """Raises LockNotAvailableError where somebody holds a table for minutes."""
    backoff = Backoff(0.1, 2.0)
    for attempt in range(1, _LOCK_ATTEMPTS + 1):
        try:
            async with connection.transaction():
                # An index of a large table takes its time.
                await connection.execute(
                    f"SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'"
                )
                await connection.execute(sql, timeout=_LONGEST_SECONDS)
                await connection.execute(
                    "INSERT INTO schema_migrations (name, checksum) VALUES ($1, $2)", name, checksum
                )
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
            if attempt == _LOCK_ATTEMPTS:
                raise
            get_logger().warning("migration_waits", migration=name, attempt=attempt, reason=error.args[0])
            await asyncio.sleep(backoff.next_seconds())
        else:
            return
