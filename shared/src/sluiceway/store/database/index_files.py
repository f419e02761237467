"""Migrations that make indexes and nothing else: they are built beside running statements, outside of a transaction.

Guarantees
- Nobody waits for such an index, neither readers nor writers: it is made CONCURRENTLY, whatever the file says.
- What a crash left behind is mended: an index that is not whole is dropped and made again, one that is whole is left.
Not guaranteed: how long it takes. It waits for every transaction of the database that began before it.
"""

import re
from dataclasses import dataclass

from sluiceway.process.logs import get_logger
from sluiceway.store.database.pool import AnyConnection

_LONGEST_SECONDS = 6 * 3600
_COMMENT = re.compile(r"--[^\n]*")
_STATEMENT = re.compile(r"CREATE (?P<unique>UNIQUE )?INDEX (?P<name>\w+) (?P<on>ON (?P<table>\w+).+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class NewIndex:
    name: str
    table: str
    statement: str


def indexes_of(sql: str) -> list[NewIndex]:
    """The indexes that a file makes; none where it does something else, too."""
    statements = [one.strip() for one in _COMMENT.sub("", sql).split(";") if one.strip()]
    found = [_STATEMENT.fullmatch(one) for one in statements]
    return [
        NewIndex(one["name"], one["table"], f"CREATE {one['unique'] or ''}INDEX CONCURRENTLY {one['name']} {one['on']}")
        for one in found
        if one is not None and None not in found
    ]


async def make(connection: AnyConnection, index: NewIndex) -> None:
    """Outside of a transaction."""
    whole = await connection.fetchval("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)", index.name)
    if whole:
        return
    # A table that holds nothing yet, as of a new system, is nothing to wait for.
    holds = await connection.fetchval(f"SELECT EXISTS (SELECT FROM {index.table})")
    tell = get_logger().info if holds else get_logger().debug
    tell("index_begins", index=index.name)
    # It waits for what others have begun, and holds up nobody meanwhile.
    await connection.execute("SET statement_timeout = 0")
    await connection.execute("SET lock_timeout = 0")
    if whole is False:
        get_logger().warning("index_made_again", index=index.name)
        await connection.execute(f"DROP INDEX CONCURRENTLY {index.name}", timeout=_LONGEST_SECONDS)
    await connection.execute(index.statement, timeout=_LONGEST_SECONDS)
