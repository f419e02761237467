"""What the gateway counts: requests, turns, streams, webhooks, and how far behind the queues are.

docs/metrics.md has the names. Labels are routes of the table, codes of problems, names of queues: never a path as
it was sent, an id, or a word of a user.
"""

from collections.abc import Callable, Iterable

from prometheus_client import Counter, Histogram
from sluiceway.process.metrics import Family, Gathered, counter, gauge, gauges, new_registry

from gateway.fanout.hub import HubStats
from gateway.ops.queues import QueuesSeen

_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """`registry`: of the process. What `watch` is given is asked when the metrics are read."""

    def __init__(self) -> None:
        self.registry = registry = new_registry("gateway")
        self._requests = Counter(
            "sluiceway_http_requests", "Requests, by their answer", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "sluiceway_http_request_seconds",
            "From a request's head to the end of its answer; of a stream, to its head",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._unavailable = Counter(
            "sluiceway_http_unavailable", "Requests that were answered 503, by the code", ["code"], registry=registry
        )
        self.accepted = Counter("sluiceway_turns_accepted", "Turns that were accepted", registry=registry)
        self._webhooks = Counter(
            "sluiceway_webhooks",
            "Webhooks, by their answer: `accepted`, or the code of the problem",
            ["kind", "answer"],
            registry=registry,
        )
        for kind in ("complete", "progress"):
            self._webhooks.labels(kind, "accepted")

    def watch(
        self, hub: Callable[[], HubStats], waiting_bytes: Callable[[], int], queues: Callable[[], QueuesSeen | None]
    ) -> None:
        """`queues`: as they were looked at last; None: they could not be."""
        Gathered(self.registry, lambda: _of_streams(hub(), waiting_bytes()))
        Gathered(self.registry, lambda: _of_queues(queues()))

    def request(self, method: str, route: str, status: int, seconds: float, code: str | None) -> None:
        known = method if method in _METHODS else "other"
        self._requests.labels(known, route, status).inc()
        self._seconds.labels(route).observe(seconds)
        if status == 503:
            self._unavailable.labels(code or "").inc()

    def webhook(self, kind: str, answer: str) -> None:
        self._webhooks.labels(kind, answer).inc()


def _of_streams(hub: HubStats, waiting_bytes: int) -> Iterable[Family]:
    yield gauge("sluiceway_streams_open", "Streams that are served now", hub.subscribers)
    yield gauge("sluiceway_streams_followed", "Turns, jobs and agents that somebody here follows live", hub.streams)
    yield gauge("sluiceway_stream_waiting_bytes", "Bytes that wait for slow clients", waiting_bytes)
    yield counter("sluiceway_streams_joined", "Streams that were opened", hub.joined)
    yield counter("sluiceway_streams_replayed", "Streams that began with what was there already", hub.replayed)
    yield counter("sluiceway_streams_truncated", "Streams refused as Redis lost what follows the cursor", hub.truncated)
    yield counter("sluiceway_streams_slow", "How often a live stream fell behind, as its client took nothing", hub.slow)
    yield counter("sluiceway_streams_broken", "Streams that were broken before their end", hub.broken)
    yield counter("sluiceway_stream_events_sent", "Events written to clients", hub.events_sent)
    yield counter("sluiceway_stream_bytes_sent", "Bytes of events written to clients", hub.bytes_sent)
    yield counter("sluiceway_stream_entries_read", "Entries read from Redis", hub.entries_read)
    yield counter(
        "sluiceway_stream_unknown_types", "Entries of a type that this version does not know", hub.unknown_types
    )
    yield counter("sluiceway_stream_redis_reconnects", "How often the connection for streams was lost", hub.reconnects)


def _of_queues(seen: QueuesSeen | None) -> Iterable[Family]:
    """Of a queue that nobody could look at nothing is told, rather than what it was."""
    yield gauge("sluiceway_queues_seen", "1 where the queues could be looked at, else 0", float(seen is not None))
    states = seen.states if seen is not None else []
    for name, told, values in (
        ("waiting", "Entries that no worker has yet", {one.kind: one.waiting for one in states}),
        (
            "in_lanes",
            "Of those that wait: behind another one of their user or organisation",
            {o.kind: o.in_lanes for o in states},
        ),
        ("in_flight", "Entries that a worker has", {one.kind: one.in_flight for one in states}),
        ("consumers", "Workers that the queue knows", {one.kind: len(one.consumers) for one in states}),
        (
            "oldest_waiting_seconds",
            "Since when the oldest entry waits",
            {o.kind: o.waiting_seconds or 0 for o in states},
        ),
        (
            "oldest_in_flight_seconds",
            "Since when the oldest entry that a worker has was queued",
            {one.kind: one.in_flight_seconds or 0 for one in states},
        ),
        (
            "dead_letters",
            "Entries that were given up and are kept",
            _dead_letters(seen),
        ),
    ):
        yield gauges(f"sluiceway_queue_{name}", told, "queue", {queue: float(value) for queue, value in values.items()})
    if seen is not None:
        yield gauge("sluiceway_chat_workers_ready", "Chat workers that say they are ready", seen.chat_workers)


def _dead_letters(seen: QueuesSeen | None) -> dict[str, int]:
    """0 where there are none: a series that appears with its first event hides that event from `increase`."""
    return {one.kind: 0 for one in seen.states} | dict(seen.dead_letters) if seen is not None else {}
