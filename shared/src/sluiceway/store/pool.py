"""The connection pool, and what a Postgres that is away looks like to callers."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg

from sluiceway.errors import StoreUnavailable

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]
else:
    Connection = Any

# Away, starting, stopping, failing over, out of connections, or not migrated yet (somebody is about to); or it chose
# us to break a deadlock. A wrong statement is a defect and is not here.
AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.TransactionRollbackError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    # What asyncpg raises, once in a while, when the connection dies between two messages of a statement.
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
_CONNECT_SECONDS = 3
_STATEMENT_SECONDS = 10


@asynccontextmanager
async def store_errors() -> AsyncIterator[None]:
    """Raise StoreUnavailable where Postgres is away."""
    try:
        yield
    except AWAY as error:
        raise StoreUnavailable(f"{type(error).__name__}: {error}") from error


class Pool:
    """Connections to Postgres, made when they are needed: a process starts and waits while Postgres is away."""

    def __init__(self, database_url: str, *, max_size: int, application_name: str) -> None:
        self._url = database_url
        self._max_size = max_size
        self._application_name = application_name
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        async with store_errors():
            pool = self._pool or await self._open()
            async with pool.acquire(timeout=_STATEMENT_SECONDS) as connection:
                yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """READ COMMITTED: each statement sees what was committed before it, so a lock taken first orders the rest."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def close(self) -> None:
        if self._pool is not None:
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    await self._pool.close()
            except AWAY:
                self._pool.terminate()

    async def _open(self) -> "asyncpg.Pool[asyncpg.Record]":
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=0,
                    max_size=self._max_size,
                    timeout=_CONNECT_SECONDS,
                    command_timeout=_STATEMENT_SECONDS,
                    init=_init_connection,
                    reset=_keep_as_it_is,
                    server_settings={"application_name": self._application_name},
                )
            return self._pool


async def _init_connection(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    await connection.set_type_codec("jsonb", encoder=_dump, decoder=json.loads, schema="pg_catalog")


async def _keep_as_it_is(_: "asyncpg.Connection[asyncpg.Record]") -> None:
    """asyncpg would ask the server to forget the session's state, a round trip for each use of a connection. Ours has
    none but advisory locks, and `advisory_lock` sees to those."""


@asynccontextmanager
async def advisory_lock(connection: Connection, lock: str, unlock: str, *key: int) -> AsyncIterator[bool]:
    """Hold a lock of the session: whether it was got. However this ends, the connection never goes on holding it."""
    held = await connection.fetchval(f"SELECT {lock}", *key) is not False
    try:
        yield held
    finally:
        if held and not connection.is_closed():
            try:
                await connection.execute(f"SELECT {unlock}", *key)
            except BaseException:
                connection.terminate()
                raise


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
