"""Postgres as it was a little while before: the rows of a database, and putting them back under running services."""

import io
from dataclasses import dataclass

import asyncpg


@dataclass(frozen=True, slots=True)
class Backup:
    """All rows by table, as COPY has them, and where each sequence was."""

    rows: dict[str, bytes]
    sequences: dict[str, int | None]

    @classmethod
    async def take(cls, database_url: str) -> "Backup":
        """As of one moment."""
        connection = await asyncpg.connect(database_url)
        try:
            async with connection.transaction(isolation="repeatable_read"):
                rows = {table: await _copied(connection, table) for table in await _tables(connection)}
                found = await connection.fetch("SELECT sequencename, last_value FROM pg_sequences")
        finally:
            await connection.close()
        return cls(rows, {one["sequencename"]: one["last_value"] for one in found})

    async def restore(self, database_url: str) -> set[str]:
        """Put them back in one transaction, and end every other session, as a restore or a failover does. Answers the
        ids of sessions and turns that are gone by that."""
        connection = await asyncpg.connect(database_url)
        try:
            async with connection.transaction():
                await connection.execute("SET LOCAL session_replication_role = replica")  # in any order of tables
                # Of a deadlock the others are the victims.
                await connection.execute("SET LOCAL deadlock_timeout = '30s'")
                await connection.execute(f"LOCK TABLE {', '.join(self.rows)} IN ACCESS EXCLUSIVE MODE")
                before = await _ids(connection)
                await connection.execute(f"TRUNCATE {', '.join(self.rows)}")
                for table, copied in self.rows.items():
                    await connection.copy_to_table(table, source=io.BytesIO(copied), format="binary")
                for name, value in self.sequences.items():
                    await connection.execute("SELECT setval($1, $2, $3)", name, value or 1, value is not None)
                lost = before - await _ids(connection)
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        finally:
            await connection.close()
        return lost


async def _ids(connection: "asyncpg.Connection[asyncpg.Record]") -> set[str]:
    return {row["id"] for row in await connection.fetch("SELECT id FROM sessions UNION ALL SELECT id FROM tasks")}


async def _tables(connection: "asyncpg.Connection[asyncpg.Record]") -> list[str]:
    """All but the list of migrations, which are not undone."""
    found = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    return [row["tablename"] for row in found if row["tablename"] != "schema_migrations"]


async def _copied(connection: "asyncpg.Connection[asyncpg.Record]", table: str) -> bytes:
    copied = io.BytesIO()
    await connection.copy_from_table(table, output=copied, format="binary")
    return copied.getvalue()
