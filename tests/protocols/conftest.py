"""An event loop that all examples of a machine share, and what they use on it."""

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest
from redis.asyncio import Redis
from sluiceway.store import Store

from harness.databases.database import Database


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with asyncio.Runner() as runner:
        yield runner.get_loop()


@pytest.fixture
def server(valkey_url: str, loop: asyncio.AbstractEventLoop) -> Iterator[Redis]:
    """A client of the test's Valkey that answers bytes. Who waits there for a moment waits for no longer than that: the
    server looks for such moments ten times a second, if it is not asked for more."""
    client = Redis.from_url(valkey_url, decode_responses=False)
    loop.run_until_complete(client.config_set("hz", "500"))
    yield client
    loop.run_until_complete(client.config_set("hz", "10"))
    loop.run_until_complete(client.aclose())


@pytest.fixture
def stores(database_url: str, loop: asyncio.AbstractEventLoop) -> Iterator[tuple[Store, Store]]:
    """Of two processes."""
    one, other = (Store.open(database_url, max_size=6, application_name=name) for name in ("one", "other"))
    yield loop.run_until_complete(one.__aenter__()), loop.run_until_complete(other.__aenter__())
    for opened in (one, other):
        loop.run_until_complete(opened.__aexit__(None, None, None))


@pytest.fixture
def rows(database_url: str, loop: asyncio.AbstractEventLoop) -> Iterator[Database]:
    """A connection to the test's database, to look at what is durable."""
    connection = loop.run_until_complete(asyncpg.connect(database_url))
    yield connection
    loop.run_until_complete(connection.close())
