"""Each way in which Postgres refuses or fails, really provoked: callers get StoreUnavailable, in time, and the next
call works by itself as soon as Postgres does."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from sluiceway.errors import NotStorable, StoreSlow, StoreUnavailable
from sluiceway.store.database.pool import Pool

from harness.databases.database import Database
from harness.databases.postgres import Postgres
from harness.waiting import wait_until

TIMEOUT = timedelta(seconds=1)
# What waits for a lock. (pg_stat_activity would stand still within a transaction.)
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"
pytestmark = pytest.mark.requirement("OP-7", "CC-8")


@asynccontextmanager
async def open_pool(url: str, max_size: int = 2) -> AsyncIterator[Pool]:
    pool = Pool(url, max_size=max_size, application_name="under-test", timeout=TIMEOUT)
    yield pool
    await pool.close()


@pytest.fixture
async def pool(database_url: str, database: Database) -> AsyncIterator[Pool]:
    await database.execute("CREATE TABLE notes (id integer PRIMARY KEY, text text)")
    await database.execute("INSERT INTO notes VALUES (1, 'one'), (2, 'two')")
    async with open_pool(database_url) as pool:
        yield pool


async def write(pool: Pool, note: int = 1) -> None:
    async with pool.transaction() as connection:
        await connection.execute("UPDATE notes SET text = text || '.' WHERE id = $1", note)


async def works(pool: Pool) -> bool:
    try:
        await write(pool)
    except StoreUnavailable:
        return False
    return True


async def backends(database: Database) -> list[int]:
    rows = await database.fetch("SELECT pid FROM pg_stat_activity WHERE application_name = 'under-test' ORDER BY pid")
    return [row["pid"] for row in rows]


async def refused(pool: Pool, work: Callable[[Pool], Awaitable[None]] = write, *, within: float = 3) -> str:
    """The reason why it was StoreUnavailable, before so many seconds are over."""
    began = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        await work(pool)
    assert time.monotonic() - began < within
    return str(caught.value)


async def test_a_connection_that_an_administrator_ends_is_replaced(pool: Pool, database: Database) -> None:
    async def cut_in_the_middle(pool: Pool) -> None:
        async with pool.transaction() as connection:
            await connection.execute("UPDATE notes SET text = 'lost' WHERE id = 1")
            for pid in await backends(database):
                await database.execute("SELECT pg_terminate_backend($1)", pid)
            await connection.execute("UPDATE notes SET text = 'lost' WHERE id = 2")

    await refused(pool, cut_in_the_middle)
    await write(pool)
    assert [row["text"] for row in await database.fetch("SELECT text FROM notes ORDER BY id")] == ["one.", "two"]


async def test_an_idle_connection_that_was_ended_is_not_handed_out(pool: Pool, database: Database) -> None:
    await write(pool)
    (idle,) = await backends(database)
    await database.execute("SELECT pg_terminate_backend($1)", idle)
    await wait_until(lambda: works(pool), 2, "the next connection works")
    assert idle not in await backends(database)


async def test_one_of_two_in_a_deadlock_tries_again_on_the_same_connection(pool: Pool, database: Database) -> None:
    both_hold_one = asyncio.Barrier(2)
    before: list[int] = []

    async def lock_both(first: int, second: int) -> str:
        try:
            async with pool.transaction() as connection:
                await connection.execute("SET LOCAL deadlock_timeout = '50ms'")
                await connection.execute("UPDATE notes SET text = 'locked' WHERE id = $1", first)
                await both_hold_one.wait()
                before[:] = await backends(database) if first == 1 else before
                await connection.execute("UPDATE notes SET text = 'locked' WHERE id = $1", second)
        except StoreUnavailable as error:
            return str(error)
        return ""

    reasons = sorted(await asyncio.gather(lock_both(1, 2), lock_both(2, 1)))
    assert reasons[0] == ""
    assert reasons[1].startswith("DeadlockDetectedError")
    await asyncio.gather(write(pool, 1), write(pool, 2))
    assert await backends(database) == before, "no connection was given up"


async def test_a_transaction_that_cannot_be_put_in_order_is_to_be_tried_again(
    pool: Pool, database: Database, database_url: str
) -> None:
    await database.execute(
        f'ALTER DATABASE "{database_url.rpartition("/")[2]}" SET default_transaction_isolation = serializable'
    )

    async def overtaken(pool: Pool) -> None:
        async with pool.transaction() as connection:
            await connection.fetch("SELECT * FROM notes")
            await database.execute("UPDATE notes SET text = 'overtaken' WHERE id = 1")
            await connection.execute("UPDATE notes SET text = 'lost' WHERE id = 1")

    assert (await refused(pool, overtaken)).startswith("SerializationError")
    await write(pool)


async def test_who_waits_for_a_lock_too_long_gives_up_and_leaves_nothing_behind(
    pool: Pool, database: Database, database_url: str
) -> None:
    async with database.transaction():
        await database.execute("UPDATE notes SET text = 'held' WHERE id = 1")
        assert (await refused(pool)).startswith("QueryCanceledError")
        assert await database.fetchval(WAITING) == 0
    await write(pool)


async def test_a_lock_past_which_only_the_client_gives_up_is_told_from_a_postgres_that_is_away(
    pool: Pool, database: Database, database_url: str
) -> None:
    """Past a pooler in transaction mode a statement outside of transactions has no limit at the server."""
    past = Pool(database_url, max_size=1, application_name="past", timeout=TIMEOUT, direct_url=database_url)
    async with database.transaction():
        await database.execute("UPDATE notes SET text = 'held' WHERE id = 1")
        with pytest.raises(StoreSlow, match="TimeoutError"):
            async with past.connection() as connection:
                await connection.execute("UPDATE notes SET text = 'mine' WHERE id = 1")
        with pytest.raises(StoreSlow, match="QueryCanceledError"):
            await write(past)
    await write(past)
    await past.close()


async def test_a_frozen_client_does_not_keep_its_locks(pool: Pool, database_url: str) -> None:
    async with open_pool(database_url) as other:

        async def freeze_in_the_middle(pool: Pool) -> None:
            async with pool.transaction() as connection:
                await connection.execute("UPDATE notes SET text = 'zombie' WHERE id = 1")
                await wait_until(lambda: works(other), 5, "another gets the lock")
                await connection.execute("UPDATE notes SET text = 'zombie' WHERE id = 2")

        await refused(pool, freeze_in_the_middle, within=6)
        await write(pool)
        async with pool.connection() as connection:
            assert await connection.fetchval("SELECT text FROM notes WHERE id = 1") == "one.."


async def test_a_server_that_only_reads_is_left_for_the_one_that_writes(
    pool: Pool, database: Database, postgres: Postgres, database_url: str
) -> None:
    """As after a failover: who is connected to what is a standby now has to connect anew."""
    name = database_url.rpartition("/")[2]
    postgres.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    assert (await refused(pool)).startswith("ReadOnlySQLTransactionError")
    postgres.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = off')
    await write(pool)


async def test_a_server_without_a_free_connection_is_asked_again(postgres: Postgres, database_url: str) -> None:
    postgres.execute("CREATE ROLE crowded LOGIN CONNECTION LIMIT 1")
    url = database_url.replace("postgres@", "crowded@")
    try:
        async with open_pool(url) as pool, open_pool(url) as other:
            async with pool.connection():
                assert (await refused(other, _ask)).startswith("TooManyConnectionsError")
            await pool.close()
            await wait_until(lambda: _answers(other), 2, "there is room again")
    finally:
        postgres.execute("DROP ROLE crowded")


async def test_who_finds_no_free_connection_in_the_pool_gives_up_in_time(database_url: str) -> None:
    async with open_pool(database_url, max_size=1) as pool:
        async with pool.connection():
            assert (await refused(pool, _ask)).startswith("TimeoutError")
        await _ask(pool)


async def test_a_server_that_hangs_is_given_up_in_time_and_continues_when_it_wakes_up(
    pool: Pool, postgres: Postgres
) -> None:
    await write(pool)
    postgres.freeze()
    try:
        await refused(pool, within=4)
        await refused(pool, within=6)  # this one needs a new connection
    finally:
        postgres.thaw()
    await write(pool)


async def test_a_migration_under_a_prepared_statement_is_no_error(pool: Pool, database: Database) -> None:
    async def read_all(pool: Pool) -> None:
        async with pool.transaction() as connection:
            await connection.fetch("SELECT * FROM notes")

    await read_all(pool)
    await database.execute("ALTER TABLE notes ADD COLUMN more text")
    await refused(pool, read_all)
    await read_all(pool)


async def test_what_can_never_be_right_is_not_taken_for_an_outage(pool: Pool) -> None:
    with pytest.raises(NotStorable):
        async with pool.connection() as connection:
            await connection.execute("UPDATE notes SET text = 'x' WHERE id = $1", "no number")
    async with open_pool("mysql://nowhere/nothing") as wrong:
        with pytest.raises(ValueError, match="scheme"):
            await _ask(wrong)


async def test_who_is_cancelled_in_a_statement_hands_no_transaction_on(pool: Pool, database: Database) -> None:
    async with database.transaction():
        await database.execute("UPDATE notes SET text = 'held' WHERE id = 1")
        waiting = asyncio.create_task(write(pool))
        await wait_until(lambda: database.fetchval(WAITING), what="it waits for the lock")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await write(pool)
    assert await database.fetchval("SELECT text FROM notes WHERE id = 1") == "held."


async def _ask(pool: Pool) -> None:
    async with pool.connection() as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def _answers(pool: Pool) -> bool:
    try:
        await _ask(pool)
    except StoreUnavailable:
        return False
    return True
