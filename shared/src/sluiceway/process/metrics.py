"""Metrics in the text format of Prometheus, for `GET /metrics`.

Each process makes one registry and passes it on: to the class that has the service's own metrics, and to its health
server. Nothing registers itself anywhere else, so that many services can be made in one process, and none twice.
Names begin with `sluiceway_`. Labels have few values, known beforehand: never an id.
"""

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


def new_registry() -> CollectorRegistry:
    """A registry that has what the system knows of the process: `process_…`, on Linux."""
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    return registry


def exposition(registry: CollectorRegistry) -> bytes:
    """All metrics as they are now, in the format named by `CONTENT_TYPE`."""
    return generate_latest(registry)
