"""What the tests of agent streams share."""

import pytest
from redis.asyncio import Redis
from sluiceway.feeds.agent_events import AgentStreams

from harness.retention import RETENTION


@pytest.fixture
def streams(redis: Redis) -> AgentStreams:
    return AgentStreams(redis, RETENTION)
