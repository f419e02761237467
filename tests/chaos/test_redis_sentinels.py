"""Real Sentinels fail over in the middle of answers: everybody finds the new primary by asking them, and sees the whole
answer once."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from sluiceway.errors import RedisUnavailable
from sluiceway.redis.client import command, open_redis
from sluiceway.redis.sentinel import Primary, UnknownService
from sluiceway.redis.url import Node, RedisUrl

from harness.clients.chat import Chat
from harness.clients.watched_turns import watched_turns
from harness.databases.database import Database
from harness.databases.redis_sentinels import SERVICE, RedisSentinels
from harness.processes.services import Services, System
from harness.proxies.tls import Authority, tls_before
from harness.waiting import wait_until

NEXT_TEXT_SECONDS = 5


@pytest.fixture
async def sentinels(services: Services, tmp_path: Path) -> AsyncIterator[RedisSentinels]:
    """They are gone before the services are, which end without them."""
    sentinels = RedisSentinels(tmp_path)
    try:
        sentinels.start()
        yield sentinels
    finally:
        sentinels.stop()


@pytest.fixture
async def system(services: Services, sentinels: RedisSentinels) -> System:
    return await services.whole(gateways=2, REDIS_URL=sentinels.url)


@pytest.mark.requirement("OP-8", "OP-7", "TS-11")
async def test_nothing_is_lost_or_doubled_when_sentinels_fail_over_in_mid_answer(
    system: System, sentinels: RedisSentinels, database: Database
) -> None:
    async with Chat(system.url) as chat:
        for name, fail_over in (("killed", sentinels.kill_primary), ("frozen", sentinels.freeze_primary)):
            async with watched_turns(system, chat, name, 6) as watched:
                await watched.flowing()
                promoted = await fail_over()
                assert await watched.more_text(promoted) < NEXT_TEXT_SECONDS
                await watched.whole(database)
            await sentinels.bring_back()
        for gateway in system.gateways:
            await wait_until(lambda: gateway.answers("/readyz"), 30, "the gateway is ready")  # noqa: B023


@pytest.mark.requirement("OP-8")
async def test_no_connection_stays_with_who_is_no_primary_and_a_wrong_service_is_told(
    sentinels: RedisSentinels, tmp_path: Path
) -> None:
    async with open_redis(sentinels.url, name="sentinel-test") as client:
        assert await command(client, "SET", "sw:probe:x", "1", "PX", 60_000)
        sentinels.sentinels[0].stop()  # the first of the list: others are asked
        await sentinels.freeze_primary()

        async def written() -> bool:
            try:
                return bool(await command(client, "SET", "sw:probe:x", "2", "PX", 60_000))
            except RedisUnavailable:
                return False

        await wait_until(written, 5, "a write reaches the new primary")
        assert sentinels.primary.ask("GET", "sw:probe:x") == b"2"
        await _found_by_tls(sentinels, tmp_path)
    async with open_redis(sentinels.url.replace(SERVICE, "another"), name="sentinel-test") as client:
        with pytest.raises(RedisUnavailable, match="watch no service 'another'") as refused:
            await command(client, "PING")
        assert isinstance(refused.value.__cause__, UnknownService)


async def _found_by_tls(sentinels: RedisSentinels, directory: Path) -> None:
    """With an authority of one's own, and a certificate that shows who asks."""
    authority = Authority(directory / "tls")
    certificate, key = authority.certified("client")
    options = f"ssl_ca_certs={authority.ca}&ssl_certfile={certificate}&ssl_keyfile={key}"
    async with tls_before(sentinels.sentinels[1].port, authority) as port:
        url = RedisUrl.parse(f"rediss+sentinel://127.0.0.1:{port}/{SERVICE}?{options}")
        assert await Primary(url).find() == Node("127.0.0.1", sentinels.primary.port)
        assert "ssl_ca_certs" in url.url_of(Node("127.0.0.1", 1)), "the primary is reached in the same way"
        strangers = RedisUrl.parse(f"rediss+sentinel://127.0.0.1:{port}/{SERVICE}?ssl_ca_certs={authority.ca}")
        with pytest.raises(RedisConnectionError, match="no Sentinel of REDIS_URL answers"):
            await Primary(strangers).find()
