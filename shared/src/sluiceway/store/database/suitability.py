"""What has to be true of the Postgres that DATABASE_URL leads to, beside its schema.

Each finding is one sentence that says what a person has to change. Nothing is written.
"""

import re
from collections.abc import Mapping
from typing import Any

from sluiceway.store.database.migrate import migrations
from sluiceway.store.database.pool import Connection, Pool
from sluiceway.store.database.wall import missing_wall

_OLDEST_MAJOR = 14
# What `problems` looks at.
RULES = ("sessions", "version", "writes", "rights", "orgs")
_TABLE = re.compile(r"^CREATE TABLE (?:IF NOT EXISTS )?(\w+)", re.MULTILINE)
_SERVER = """
SELECT current_setting('server_version_num')::integer / 10000 AS major,
       pg_is_in_recovery() AS standby,
       current_setting('default_transaction_read_only')::boolean AS read_only
"""
# A table that is not there yet lacks no right: migrations are another matter.
_LACKING = """
SELECT relname FROM pg_class
WHERE relname = ANY ($1) AND relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace
  AND NOT (has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
           AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE'))
ORDER BY relname
"""


async def problems(pool: Pool) -> dict[str, str]:
    """All that is wrong, a sentence for each rule that is broken. Raises StoreUnavailable, StoreRefuses."""
    if pool.keeps_sessions and await pool.shares_sessions():  # what else is asked through it may not hold
        return {
            "sessions": "DATABASE_URL leads through a pooler that shares sessions (transaction mode): set its pool_mode"
            " to session, or DATABASE_DIRECT_URL to the address of the server itself"
        }
    async with pool.connection() as connection:
        server: dict[str, Any] = dict(*await connection.fetch(_SERVER))
        found = {"version": old(server), "writes": read_only(server), "rights": await _lacking_rights(connection)}
        found["orgs"] = await missing_wall(connection) if pool.walled else None
    return {name: sentence for name, sentence in found.items() if sentence is not None}


def old(server: Mapping[str, Any]) -> str | None:
    """Why its version is none for us, of its `major`."""
    if server["major"] >= _OLDEST_MAJOR:
        return None
    return f"DATABASE_URL leads to PostgreSQL {server['major']}: {_OLDEST_MAJOR} or newer is needed"


def read_only(server: Mapping[str, Any]) -> str | None:
    """Why it takes no writes, of its `standby` and `read_only`."""
    if server["standby"]:
        return "DATABASE_URL leads to a standby, which takes no writes: name the primary"
    if server["read_only"]:
        return "the role or database of DATABASE_URL is read-only: take default_transaction_read_only away from it"
    return None


async def _lacking_rights(connection: Connection) -> str | None:
    tables = sorted({name for _, sql in migrations() for name in _TABLE.findall(sql)})
    lacking = [row["relname"] for row in await connection.fetch(_LACKING, tables)]
    if not lacking:
        return None
    return f"the role of DATABASE_URL lacks a right: GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(lacking)} TO it"
