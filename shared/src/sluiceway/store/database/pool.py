"""The connection pool, and what a Postgres that is away looks like to callers.

Guarantees
- Whatever passes (Postgres is gone, starting, failing over, read-only, out of connections, hung, or it chose us to
  break a deadlock) is StoreUnavailable. After it, it is not known whether a commit that was under way happened: callers
  read again before they decide, or do again what may be done twice.
- A login or a right that Postgres refuses is StoreRefuses, of the same kind: it lasts until a person mends it, and then
  heals by itself. It is one line in the log when it begins, and one when it is over.
- Whatever else Postgres answers with (a text or a number that it does not take, a value that is too large, a
  constraint, a wrong statement) is NotStorable: the same again is refused again. Its reason quotes no data.
- JSON is made fit as it is written, whatever it is: see `encode_json`.
- No wait is longer than `timeout` and a second. The server gives up a statement by itself a moment before the client
  does, and ends a transaction whose client is frozen or gone: nobody's locks outlast that.
- A connection that failed is never used again; one that holds a transaction is never handed on.
- A pooler may stand between (PgBouncer): in session mode by `database_url` alone. In transaction mode a session is
  nobody's, so nothing is kept in one: with `direct_url`, which leads to the server itself, no statement is prepared for
  later, the timeouts are those of each transaction, and what needs a session has it there.
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

from sluiceway.errors import NotStorable, StoreRefuses, StoreSlow, StoreUnavailable
from sluiceway.process.logs import get_logger
from sluiceway.store.database.wall import is_walled, put_behind
from sluiceway.wire.json_values import encode_json

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]
    AnyConnection = PoolConnectionProxy[asyncpg.Record] | asyncpg.Connection[asyncpg.Record]
else:
    Connection = AnyConnection = Any

# Errors of one statement or transaction, after which the connection is as good as before: a deadlock, a statement that
# took too long, a schema that is not migrated yet (somebody is about to).
_PASSING = (
    asyncpg.TransactionRollbackError,
    asyncpg.QueryCanceledError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
)
# It is there, and lacks us what a person has to give.
_REFUSES = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InsufficientPrivilegeError)
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
    # A pooler gave us another session than the one that a statement was prepared in.
    asyncpg.InvalidSQLStatementNameError,
    asyncpg.DuplicatePreparedStatementError,
    # A migration changed what a prepared statement answers.
    asyncpg.InvalidCachedStatementError,
    # What asyncpg raises, once in a while, when the connection dies between two messages of a statement.
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
TIMEOUT = timedelta(seconds=10)
_CONNECT_SECONDS = 3
_LOOKS = 3
_CACHED_STATEMENTS = 100
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
    """Raise StoreUnavailable where Postgres is away (StoreSlow: in time), StoreRefuses where it refuses us,
    NotStorable where it refuses what it was given."""
    try:
        yield
    except AWAY as error:
        if isinstance(error, ValueError):  # asyncpg's word for an address that can never be right
            raise
        kind = StoreSlow if isinstance(error, asyncpg.QueryCanceledError) else StoreUnavailable
        raise kind(f"{type(error).__name__}: {error}") from error
    except _REFUSES as error:
        raise StoreRefuses(_reason(error)) from None
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

    `timeout`: for each statement, and for a free connection. `direct_url`: see above. `walled`: its process acts for
    organisations, so that the wall between these has to be there.
    """

    def __init__(
        self,
        database_url: str,
        *,
        max_size: int,
        application_name: str,
        timeout: timedelta = TIMEOUT,
        direct_url: str | None = None,
        walled: bool = False,
    ) -> None:
        self.walled = walled
        self._url = database_url
        self._direct_url = direct_url
        self._max_size = max_size
        self._application_name = application_name
        self._seconds = timeout.total_seconds()
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._opening = asyncio.Lock()
        self._waits = 0
        self._wait_seconds = 0.0
        self._shares: bool | None = None
        self._refused: set[str] = set()
        self._refused_login = False

    @property
    def state(self) -> PoolState:
        size, idle = (self._pool.get_size(), self._pool.get_idle_size()) if self._pool is not None else (0, 0)
        return PoolState(size - idle, idle, self._max_size, self._waits, self._wait_seconds)

    @property
    def keeps_sessions(self) -> bool:
        """Whether a connection is taken to be a session of its own."""
        return self._direct_url is None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """For single statements. Behind the wall between organisations it is a transaction, see `wall.py`."""
        async with self.transaction() if is_walled() else self._taken() as connection:
            yield connection

    @asynccontextmanager
    async def _taken(self) -> AsyncIterator[Connection]:
        async with store_errors(), self._refusals():
            pool, began = self._pool or await self._open(), time.perf_counter()
            async with pool.acquire(timeout=self._seconds) as connection:
                self._waits += 1
                self._wait_seconds += time.perf_counter() - began
                self._accepted()
                try:
                    yield connection
                except TimeoutError as error:
                    # Past a pooler a single statement has no limit but the client's.
                    terminate(connection)
                    raise StoreSlow("TimeoutError: the client gave a statement up") from error
                except BaseException as error:
                    if not _is_sound_after(error):
                        terminate(connection)
                    raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """READ COMMITTED: each statement sees what was committed before it, so a lock taken first orders the rest.

        Where the connection failed nothing is rolled back: the server does that when it misses its client.
        """
        async with self._taken() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                if not self.keeps_sessions:
                    await connection.execute(self._timeouts("SET LOCAL"))
                if is_walled():
                    await put_behind(connection)
                yield connection
            except BaseException as error:
                if _is_sound_after(error):
                    await transaction.rollback()
                raise
            await transaction.commit()

    async def lasting_connection(self) -> "asyncpg.Connection[asyncpg.Record]":
        """One beside the pool, for a session that lasts. The caller ends it."""
        connection = await self._connect(self._direct_url or self._url)
        try:
            await connection.execute(self._timeouts("SET"))
        except BaseException:
            connection.terminate()
            raise
        return connection

    @asynccontextmanager
    async def session(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """A lasting connection for as long as the block is."""
        async with store_errors(), self._refusals():
            connection = await self.lasting_connection()
            self._accepted()
            try:
                yield connection
            finally:
                await _hang_up(connection)

    async def shares_sessions(self) -> bool:
        """Whether two connections at once turn out to be one session of the server: a pooler in transaction mode, or
        statement mode, stands between. Looked at once: what others do with that pooler at the moment may hide it, and
        no more than that. Raises StoreUnavailable."""
        if self._shares is None:
            async with store_errors(), self._refusals():
                self._shares = await self._two_are_one()
        return self._shares

    async def _two_are_one(self) -> bool:
        one = await self._connect(self._url)
        try:
            other = await self._connect(self._url)
            try:
                asked = "SELECT pg_backend_pid()"
                pairs = [(await one.fetchval(asked), await other.fetchval(asked)) for _ in range(_LOOKS)]
            finally:
                await _hang_up(other)
        finally:
            await _hang_up(one)
        return any(first == second for first, second in pairs)

    async def _connect(self, url: str) -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(
            url,
            timeout=_CONNECT_SECONDS,
            command_timeout=self._seconds + _MARGIN_SECONDS,
            statement_cache_size=0,
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
                    init=self._init_connection,
                    reset=_keep_as_it_is,
                    server_settings=self._server_settings(),
                    statement_cache_size=_CACHED_STATEMENTS if self.keeps_sessions else 0,
                )
            return self._pool

    async def _init_connection(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        if self.keeps_sessions:
            await connection.execute(self._timeouts("SET"))
        for kind in ("json", "jsonb"):
            await connection.set_type_codec(kind, encoder=_dump, decoder=json.loads, schema="pg_catalog")

    def _server_settings(self) -> dict[str, str]:
        """What a connection begins with. Poolers take no other than this one."""
        return {"application_name": self._application_name}

    def _timeouts(self, put: str) -> str:
        milliseconds = round(self._seconds * 1000)
        names = ("statement_timeout", "idle_in_transaction_session_timeout")
        return "; ".join(f"{put} {name} = {milliseconds}" for name in names)

    @asynccontextmanager
    async def _refusals(self) -> AsyncIterator[None]:
        """Tell of a refusal, once, not each time."""
        try:
            yield
        except _REFUSES as error:
            reason = _reason(error)
            if reason not in self._refused:
                get_logger().error("postgres_refuses", reason=reason)
            self._refused.add(reason)
            self._refused_login |= not isinstance(error, asyncpg.InsufficientPrivilegeError)
            raise

    def _accepted(self) -> None:
        if self._refused_login:
            get_logger().info("postgres_accepts")
            self._refused.clear()
            self._refused_login = False


def _is_sound_after(error: BaseException) -> bool:
    """Whether the connection can be used again. A cancelled statement may still be running on it."""
    return isinstance(error, _PASSING) or not isinstance(error, (*AWAY, asyncio.CancelledError, GeneratorExit))


def terminate(connection: AnyConnection) -> None:
    """Close it without a word to the server, if that was not done."""
    with contextlib.suppress(asyncpg.InterfaceError):
        connection.terminate()


async def _hang_up(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Politely, or where that does not work by itself."""
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            await connection.close()
    except (*AWAY, asyncpg.PostgresError):
        terminate(connection)
    except asyncio.CancelledError:
        terminate(connection)
        raise


async def _keep_as_it_is(_: "asyncpg.Connection[asyncpg.Record]") -> None:
    """asyncpg would ask the server to forget the session's state, a round trip for each use of a connection. Ours has
    none but advisory locks, and `advisory_lock` sees to those."""


@asynccontextmanager
async def advisory_lock(connection: AnyConnection, lock: str, unlock: str, *key: int) -> AsyncIterator[bool]:
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
