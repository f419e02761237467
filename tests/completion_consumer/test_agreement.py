"""Settings that must be the same everywhere are compared at the start, and a difference is told by name."""

from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from sluiceway import keys

from harness.processes.services import Service, Services
from harness.waiting import wait_until

_ROOT, _OTHER_ROOT = "a root secret of at least 32 bytes", "another root secret of so many bytes"


async def _warnings(service: Service) -> str:
    async with httpx.AsyncClient() as http:
        answer = (await http.get(f"{service.url}/readyz")).json()
    told: dict[str, str] = answer.get("warnings", {})
    return told.get("settings", "")


async def _check(gateway: Service) -> dict[str, Any]:
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"{gateway.url}/readyz")
    checks: dict[str, dict[str, Any]] = answer.json()["checks"]
    return checks["settings"]


def _errors(service: Service) -> list[dict[str, Any]]:
    return [line for line in service.log_lines if line["event"] == "settings_disagree"]


@pytest.mark.requirement("OP-12")
async def test_a_setting_that_differs_is_named_with_both_values_and_who_has_the_other(services: Services) -> None:
    first = await services.completion_consumer(RETENTION_SECONDS="120")
    second = await services.completion_consumer(LEASE_SECONDS="7")
    await wait_until(lambda: _warnings(first), what="the first one knows")
    told = await _warnings(first)
    assert "RETENTION_SECONDS is 120 here, and 3600 at completion-consumer completion-consumer-2" in told
    assert "LEASE_SECONDS is" in told
    assert "LIVE_TTL_SECONDS" not in told
    theirs = await _warnings(second)
    assert "RETENTION_SECONDS is 3600 here, and 120 at completion-consumer completion-consumer-1" in theirs
    for service in (first, second):
        assert sorted(line["setting"] for line in _errors(service)) == ["LEASE_SECONDS", "RETENTION_SECONDS"]
        assert all(line["level"] == "error" for line in _errors(service))
        # It works on: a new version that changes a setting is rolled out pod by pod.
        assert await service.answers("/readyz")


@pytest.mark.requirement("OP-12")
async def test_a_gateway_takes_part_and_agrees_again_when_the_other_has_gone(services: Services) -> None:
    gateway = await services.gateway(RETENTION_SECONDS="60")
    consumer = await services.completion_consumer()
    await wait_until(lambda: _disagrees(gateway), what="the gateway knows")
    assert "RETENTION_SECONDS is 60 here, and 3600 at completion-consumer" in (await _check(gateway))["detail"]
    assert "at gateway " in await _warnings(consumer)
    await consumer.terminate()
    await wait_until(lambda: _agrees(gateway), what="the gateway agrees with those who are left")
    assert [line for line in gateway.log_lines if line["event"] == "settings_agree"]


@pytest.mark.requirement("OP-12")
async def test_secrets_are_compared_and_not_told(services: Services, redis: Redis) -> None:
    gateway = await services.gateway(WEBHOOK_SECRETS=f'["{_ROOT}"]')
    same = await services.tool_runner(WEBHOOK_SECRETS=f'["{_ROOT}"]')
    await wait_until(lambda: redis.hlen(keys.SETTINGS), what="they have said theirs")
    await services.completion_consumer()  # which has none, and disagrees with nobody
    assert (await _check(gateway))["ok"]
    assert await _warnings(same) == ""
    other = await services.tool_runner(WEBHOOK_SECRETS=f'["{_OTHER_ROOT}"]')
    await wait_until(lambda: _disagrees(gateway), what="the gateway knows")
    assert (await _check(gateway))["detail"] == f"WEBHOOK_SECRETS differs from that of tool-runner {_name(other)}"
    said = str(await redis.hgetall(keys.SETTINGS))
    outputs = [said, *(service.output for service in services.all)]
    assert not [text for text in outputs if _ROOT in text or _OTHER_ROOT in text]


def _name(service: Service) -> str:
    return service.environment["WORKER_NAME"]


async def _disagrees(gateway: Service) -> bool:
    return not (await _check(gateway))["ok"]


async def _agrees(gateway: Service) -> bool:
    return bool((await _check(gateway))["ok"])
