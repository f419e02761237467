"""What a service process tells of itself at `GET /metrics`."""

import asyncio
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from harness.processes.services import Service
from harness.waiting import wait_until


async def metrics_of(service: Service) -> dict[tuple[str, str], float]:
    """By name and by the value of the only label ("" where there is none)."""
    return await asyncio.to_thread(_read, service.url)


async def metric(service: Service, name: str, label: str = "") -> float:
    return (await metrics_of(service))[name, label]


async def counted(service: Service, name: str, label: str, number: float) -> None:
    """Wait until a counter says this, and no more: what was done can be seen before it is counted."""

    async def reached() -> bool:
        return await metric(service, name, label) >= number

    await wait_until(reached, what=f"{name} {label} is {number}")
    assert await metric(service, name, label) == number


def _read(url: str) -> dict[tuple[str, str], float]:
    with urlopen(f"{url}/metrics", timeout=5) as answer:
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        text = answer.read().decode()
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
