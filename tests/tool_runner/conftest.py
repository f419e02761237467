"""What the tests of the tool runner share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.processes.services import Service, Services
from tests.tool_runner.operations import Caller

BAD_TOOLS = str(Path(__file__).parent / "bad_tools")


@pytest.fixture
async def caller(valkey_url: str, database_url: str) -> AsyncIterator[Caller]:
    async with Caller.open(valkey_url, database_url) as opened:
        yield opened


@pytest.fixture
async def runner(services: Services) -> Service:
    """A tool runner with the tools of `bad_tools`."""
    return await services.tool_runner(TOOLS_DIR=BAD_TOOLS, LEASE_SECONDS="1")
