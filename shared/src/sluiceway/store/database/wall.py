"""The second wall between organisations: for whom the statements of this context are sent.

Guarantees: within `acting_for` every transaction of a pool is the role ROLE's, to which Postgres shows rows of that
organisation alone, and from which it takes no others, whatever its statements forget (row-level security; see the
migration `org_wall`). It is said to the transaction, not to the session: the next user of a connection has none of it,
and a pooler in transaction mode may stand between.
Not guaranteed: anything about who says nothing. Workers, the reconciler and keys act for everybody.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import asyncpg

ROLE = "sluiceway_walled"
_MISSING = (
    "the wall between organisations is not there: CREATE ROLE sluiceway_walled NOLOGIN, GRANT it TO the role of"
    " DATABASE_URL, then SELECT build_walls() as the owner of the tables"
)
_BEHIND = "SELECT set_config('role', $1, true), set_config('sluiceway.org', $2, true)"
_STANDS = """
SELECT coalesce((SELECT pg_has_role(current_user, oid, 'MEMBER') FROM pg_roles WHERE rolname = $1), false)
       AND EXISTS (SELECT FROM pg_policies WHERE policyname = 'org_wall' AND schemaname = current_schema())
"""
_acting_for: ContextVar[str | None] = ContextVar("acting_for", default=None)


def act_for(org: str) -> None:
    """From here on, until this context ends. `org`: as `ids.org_of` says it; "" are those who are in none."""
    _acting_for.set(org)


@contextmanager
def acting_for(org: str | None) -> Iterator[None]:
    """Within the block. None: for everybody."""
    token = _acting_for.set(org)
    try:
        yield
    finally:
        _acting_for.reset(token)


def is_walled() -> bool:
    return _acting_for.get() is not None


async def put_behind(connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]") -> None:
    """In a transaction that has begun, for the rest of it."""
    await connection.execute(_BEHIND, ROLE, _acting_for.get())


async def missing_wall(connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]") -> str | None:
    """What has to be done, in a sentence; None: it stands."""
    return None if await connection.fetchval(_STANDS, ROLE) else _MISSING
