"""Schema migrations: forward-only SQL files, applied in order of their names, each in a transaction, under an
advisory lock, so that any number of processes may start at once.

A new version of one service works beside the old version of another: a migration only adds. An applied file must not
change; its checksum is compared. `python -m sluiceway.migrate` applies them by hand.
"""

from hashlib import sha256
from importlib import resources

import asyncpg

from sluiceway.errors import SluicewayError
from sluiceway.store.pool import Pool, advisory_lock

# Any fixed number, known to nobody else in this database.
_LOCK = 7_305_804_402_001
_LONGEST_SECONDS = 3600


class MigrationChanged(SluicewayError):
    """An applied migration has another text now."""


def migrations() -> list[tuple[str, str]]:
    """(name, SQL), in order."""
    files = (resources.files("sluiceway.store") / "migrations").iterdir()
    return sorted((file.name, file.read_text()) for file in files if file.name.endswith(".sql"))


async def migrate(pool: Pool) -> list[str]:
    """Apply what is missing; answer the names applied. Raises StoreUnavailable, MigrationChanged."""
    async with (
        pool.connection() as connection,
        advisory_lock(connection, "pg_advisory_lock($1)", "pg_advisory_unlock($1)", _LOCK),
    ):
        return await _apply_missing(connection)


async def is_current(pool: Pool) -> bool:
    """Whether every migration that this version knows was applied (a newer version's may have been, too)."""
    async with pool.connection() as connection:
        try:
            rows = await connection.fetch("SELECT name FROM schema_migrations")
        except asyncpg.UndefinedTableError:
            return False
    return {name for name, _ in migrations()} <= {row["name"] for row in rows}


async def _apply_missing(connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]") -> list[str]:
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations"
        " (name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    known = {row["name"]: row["checksum"] for row in await connection.fetch("SELECT * FROM schema_migrations")}
    applied: list[str] = []
    for name, sql in migrations():
        checksum = sha256(sql.encode()).hexdigest()
        if name in known:
            if known[name] != checksum:
                raise MigrationChanged(f"migration {name} was applied with another text: add a new file instead")
            continue
        async with connection.transaction():
            # An index of a large table takes its time.
            await connection.execute("SET LOCAL statement_timeout = 0")
            await connection.execute(sql, timeout=_LONGEST_SECONDS)
            await connection.execute("INSERT INTO schema_migrations (name, checksum) VALUES ($1, $2)", name, checksum)
        applied.append(name)
    return applied
