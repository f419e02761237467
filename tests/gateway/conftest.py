"""A running gateway and a client of it, and a stand-in for a chat worker."""

from collections.abc import AsyncIterator

import httpx
import pytest
from redis.asyncio import Redis
from sluiceway.store import Store

from harness.processes.services import Service, Services
from tests.gateway.stand_in import StandIn


@pytest.fixture
async def gateway(services: Services) -> Service:
    return await services.gateway()


@pytest.fixture
async def http(gateway: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(gateway) as client:
        yield client


@pytest.fixture
async def worker(redis: Redis, database_url: str) -> AsyncIterator[StandIn]:
    async with Store.open(database_url, max_size=2, application_name="stand-in") as store:
        yield StandIn(redis, store)


def client_of(gateway: Service) -> httpx.AsyncClient:
    """It asks for JSON: without that, refusals of the AI SDK's routes are sentences."""
    headers = {"accept": "application/json"}
    return httpx.AsyncClient(base_url=gateway.url, trust_env=False, verify=False, timeout=20, headers=headers)
