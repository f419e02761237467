"""The connection pool, and what a Postgres that is away looks like to callers.

Guarantees
- Whatever passes (Postgres is gone, starting, failing over, read-only, out of connections, hung, or it chose us to
  break a deadlock) is StoreUnavailable. After it, it is not known whether a commit that was under way happened: callers
  read again before they decide, or do again what may be done twice.
- Whatever else Postgres answers with (a text or a number that it does not take, a value that is too large, a
  constraint, a wrong statement) is NotStorable: the same again is refused again. Its reason quotes no data.
- JSON is made fit as it is written, whatever it is: see `encode_json`.
- No wait is longer than `timeout` and a second. The server gives up a statement by itself a moment before the client
  does, and ends a transaction whose client is frozen or gone: nobody's locks outlast that.
- A connection that failed is never used again; one that holds a transaction is never handed on.
Not guaranteed: that a process which was frozen for longer than that in the middle of a transaction can still commit it.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import asyncpg

from sluiceway.errors import NotStorable, StoreUnavailable
from sluiceway.wire.json_values import encode_json

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]
else:
    Connection = Any

# Errors of one statement or transaction, after which the connection is as good as before: a deadlock, a statement that
# took too long, a schema that is not migrated yet (somebody is about to).
_PASSING = (
    asyncpg.TransactionRollbackError,
    asyncpg.QueryCanceledError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
)
# Away, starting, stopping, failing over, read-only after that, out of connections, or weary of a silent transaction.
AWAY = (
    *_PASSING,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.LockNotAvailableError,
    asyncpg.PostgresSystemError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
    asyncpg.InvalidCatalogNameError,
    # A migration changed what a prepared statement answers.
    asyncpg.InvalidCachedStatementError,
    # What asyncpg raises, once in a while, when the connection dies between two messages of a statement.
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
TIMEOUT = timedelta(seconds=10)
_CONNECT_SECONDS = 3
# Postgres's own limit of a jsonb. It ends connections that send it much more, as if it were away.
MAX_JSON_BYTES = 0x0FFFFFFF
# By how much the server is quicker to give up a statement than the client.
_MARGIN_SECONDS = 1


@dataclass(frozen=True, slots=True)
class PoolState:
    """`waits`: how often a connection was taken; `wait_seconds`: how long that took in all, making them included."""

    in_use: int
    idle: int
    most: int
    waits: int
    wait_seconds: float


@asynccontextmanager
async def store_errors() -> AsyncIterator[None]:
    """Raise StoreUnavailable where Postgres is away, NotStorable where it refuses what it was given."""
    try:
        yield
    except AWAY as error:
        if isinstance(error, ValueError):  # asyncpg's word for an address that can never be right
            raise
        raise StoreUnavailable(f"{type(error).__name__}: {error}") from error
    except asyncpg.InvalidAuthorizationSpecificationError:
        raise  # of who asks, not of what
    except asyncpg.PostgresError as error:
        # Not chained: the error's text, and its detail even more, may quote the row.
        raise NotStorable(_reason(error)) from None


def _reason(error: asyncpg.PostgresError) -> str:
    """What is known of it without the data. Errors of data have them in their text, others in their detail only."""
    facts = [type(error).__name__, error.sqlstate, error.table_name, error.column_name, error.constraint_name]
    told = " ".join(str(fact) for fact in facts if fact)
    message = getattr(error, "message", None)
    return told if message is None or isinstance(error, asyncpg.DataError) else f"{told}: {message}"


class Pool:
    """Connections to Postgres, made when they are needed: a process starts and waits while Postgres is away.

    `timeout`: for each statement, and for a free connection.
    """

    def __init__(
        self, database_url: str, *, max_size: int, application_name: str, timeout: timedelta = TIMEOUT
    ) -> None:
        self._url = database_url
        self._max_size = max_size
        self._application_name = application_name
        self._seconds = timeout.total_seconds()
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._opening = asyncio.Lock()
        self._waits = 0
        self._wait_seconds = 0.0

    @property
    def state(self) -> PoolState:
        size, idle = (self._pool.get_size(), self._pool.get_idle_size()) if self._pool is not None else (0, 0)
        return PoolState(size - idle, idle, self._max_size, self._waits, self._wait_seconds)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        async with store_errors():
            pool, began = self._pool or await self._open(), time.perf_counter()
            async with pool.acquire(timeout=self._seconds) as connection:
                self._waits += 1
                self._wait_seconds += time.perf_counter() - began
                try:
                    yield connection
                except BaseException as error:
                    if not _is_sound_after(error):
                        terminate(connection)
                    raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """READ COMMITTED: each statement sees what was committed before it, so a lock taken first orders the rest.

        Where the connection failed nothing is rolled back: the server does that when it misses its client.
        """
        async with self.connection() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                yield connection
            except BaseException as error:
                if _is_sound_after(error):
                    await transaction.rollback()
                raise
            await transaction.commit()

    async def lasting_connection(self) -> "asyncpg.Connection[asyncpg.Record]":
        """One beside the pool, for a session that lasts. The caller ends it."""
        return await asyncpg.connect(
            self._url,
            timeout=_CONNECT_SECONDS,
            command_timeout=self._seconds + _MARGIN_SECONDS,
            server_settings=self._server_settings(),
        )

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
                    command_timeout=self._seconds + _MARGIN_SECONDS,
                    init=_init_connection,
                    reset=_keep_as_it_is,
                    server_settings=self._server_settings(),
                )
            return self._pool

    def _server_settings(self) -> dict[str, str]:
        milliseconds = str(round(self._seconds * 1000))
        return {
            "application_name": self._application_name,
            "statement_timeout": milliseconds,
            "idle_in_transaction_session_timeout": milliseconds,
        }


def _is_sound_after(error: BaseException) -> bool:
    """Whether the connection can be used again. A cancelled statement may still be running on it."""
    return isinstance(error, _PASSING) or not isinstance(error, (*AWAY, asyncio.CancelledError, GeneratorExit))


def terminate(connection: Connection) -> None:
    """Close it without a word to the server, if that was not done."""
    with contextlib.suppress(asyncpg.InterfaceError):
        connection.terminate()


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
                terminate(connection)
                raise


def _dump(value: Any) -> str:
    raw = encode_json(value)
    if len(raw) > MAX_JSON_BYTES:
        raise ValueError("too large for a jsonb")  # asyncpg makes a DataError of it
    return raw.decode()
