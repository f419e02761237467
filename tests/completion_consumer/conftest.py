"""What the tests of the completion consumer share: a scene on the test's own Redis and Postgres."""

from collections.abc import AsyncIterator

import pytest

from tests.completion_consumer.scene import Scene


@pytest.fixture
async def scene(valkey_url: str, database_url: str) -> AsyncIterator[Scene]:
    async with Scene.open(valkey_url, database_url) as opened:
        yield opened
