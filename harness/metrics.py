"""What a service process tells of itself at `GET /metrics`."""

import asyncio
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from harness.services import Service


async def metrics_of(service: Service) -> dict[tuple[str, str], float]:
    """By name and by the value of the only label ("" where there is none)."""
    return await asyncio.to_thread(_read, service.url)


async def metric(service: Service, name: str, label: str = "") -> float:
    return (await metrics_of(service))[name, label]


def _read(url: str) -> dict[tuple[str, str], float]:
    with urlopen(f"{url}/metrics", timeout=5) as answer:
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        text = answer.read().decode()
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
