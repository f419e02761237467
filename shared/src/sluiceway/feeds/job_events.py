"""Job events: what a long operation tells of itself, on a stream of its own, `job_events:JOB`.

Guarantees
- An entry has the fields `data` (the event, a JSON object, non-ASCII kept as it is), `timestamp` and `event_type`. Its
  id is Redis's own, MILLISECONDS-SEQUENCE, and grows. `event_type` is any text of the publisher's choice.
- A publish that returned is in the stream, and the stream lives for the retention after its last event. It is never
  trimmed.
- A publish that failed was logged and raises JobEventError, within `timeout_seconds`. Nothing is lost silently, and
  nothing else than JobEventError comes out, so a job that must not die of its events catches that one.
Not guaranteed: that an event is there once when it is published again after JobEventUnavailable. The gateway ends a
stream that is followed at `task_completed`, `task_failed` or `task_stopped`, where that is the newest event; a job that
is silent for longer than the retention begins a new one. Nobody owns the events: everybody with the job's id can read
them.

A client of redis-py belongs to its event loop. A synchronous task opens one in each of its `asyncio.run`s, as
`examples/celery_style_task.py` does.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from sluiceway import keys
from sluiceway.errors import JobEventError, JobEventRejected, JobEventUnavailable, RedisUnavailable
from sluiceway.ids import is_client_id
from sluiceway.process.logs import get_logger
from sluiceway.process.retention import Retention
from sluiceway.redis.client import command, redis_errors
from sluiceway.scripts import Scripts

UNKNOWN = "unknown"
MAX_DATA_BYTES = 1024 * 1024
MAX_TYPE_CHARS = 100
_PAGE = 200


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One stored event. `data` is its JSON as it was stored."""

    entry_id: str
    event_type: str
    timestamp: str
    data: bytes

    @classmethod
    def read(cls, entry_id: bytes, fields: Mapping[bytes, bytes]) -> "JobEvent":
        """Also what others have written: an entry without `data` is shown as the object of its fields."""
        data = fields.get(b"data")
        if data is None:
            members = {_text(name): _text(value) for name, value in fields.items()}
            data = json.dumps(members, ensure_ascii=False).encode()
        event_type = _text(fields.get(b"event_type", UNKNOWN.encode()))
        return cls(entry_id.decode(), event_type, _text(fields.get(b"timestamp", b"")), data)


class JobEventPublisher:
    """Publishes events of jobs, and answers their ids. Keywords become further members of an event, and win over ours.

    Every `publish_…` raises JobEventRejected or JobEventUnavailable, both JobEventErrors.
    """

    def __init__(self, redis: Redis, retention: Retention | None = None, *, timeout_seconds: float = 5.0) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self._retention_ms = (retention or Retention.from_environment()).ended_ms
        self._timeout_seconds = timeout_seconds

    async def publish_event(self, job_id: str, event_data: Mapping[str, Any]) -> str:
        """Publish an event as it is. Its `event_type` and `timestamp` are taken from it, where it has them."""
        try:
            return await self._append(keys.job_events(_checked(job_id)), _encoded(event_data))
        except JobEventError as error:
            event_type = event_data.get("event_type") if isinstance(event_data, Mapping) else None
            get_logger().error(
                "job_event_not_published",
                job_id=_loggable(job_id),
                event_type=_loggable(event_type),
                error=type(error).__name__,
                reason=str(error),
            )
            raise

    async def publish_task_started(self, job_id: str, task_type: str, **kw: Any) -> str:
        return await self._publish(job_id, "task_started", task_type, "started", kw)

    async def publish_task_progress(self, job_id: str, task_type: str, progress: Any, **kw: Any) -> str:
        """`progress`: a text for people, or a number."""
        return await self._publish(job_id, "task_progress", task_type, "running", {"progress": progress, **kw})

    async def publish_task_completed(self, job_id: str, task_type: str, result: Any, **kw: Any) -> str:
        return await self._publish(job_id, "task_completed", task_type, "completed", {"result": result, **kw})

    async def publish_task_failed(self, job_id: str, task_type: str, error: object, **kw: Any) -> str:
        """`error`: a text, or the exception that it was."""
        return await self._publish(job_id, "task_failed", task_type, "failed", {"error": str(error), **kw})

    async def publish_outline_generated(self, job_id: str, outline: Any) -> str:
        return await self._publish(job_id, "outline_generated", "outline_generation", "completed", {"outline": outline})

    async def publish_document_generated(self, job_id: str, document: Any) -> str:
        return await self._publish(
            job_id, "document_generated", "document_generation", "completed", {"document": document}
        )

    async def get_stream_info(self, job_id: str) -> dict[str, Any] | None:
        """What XINFO STREAM says (`length`, `first-entry`, `last-entry`, `last-generated-id`, …), or None where there
        is no such stream. Raises RedisUnavailable."""
        try:
            info: dict[str, Any] = await command(self._redis, "XINFO STREAM", keys.job_events(job_id))
        except ResponseError as error:
            if "no such key" in str(error):
                return None
            raise
        return info

    async def get_stream_length(self, job_id: str) -> int:
        """How many events there are; 0 where there is no such stream. Raises RedisUnavailable."""
        return int(await command(self._redis, "XLEN", keys.job_events(job_id)))

    async def _publish(self, job_id: str, event_type: str, task_type: str, status: str, members: dict[str, Any]) -> str:
        named = {"event_type": event_type, "task_type": task_type, "status": status, "timestamp": _now()}
        return await self.publish_event(job_id, {**named, **members})

    async def _append(self, key: str, fields: Sequence[str | bytes]) -> str:
        try:
            async with asyncio.timeout(self._timeout_seconds), redis_errors(self._redis):
                entry_id = await self._scripts.run("feeds/publish_job_event", [key], [self._retention_ms, *fields])
        except TimeoutError:
            raise JobEventUnavailable(f"no answer within {self._timeout_seconds} s") from None
        except (RedisUnavailable, OutOfMemoryError) as error:
            raise JobEventUnavailable(str(error)) from error
        except (RedisError, RuntimeError) as error:
            # asyncio's RuntimeError: the client belongs to another event loop, the usual slip in a synchronous task.
            raise JobEventRejected(str(error)) from error
        return entry_id.decode() if isinstance(entry_id, bytes) else str(entry_id)


async def read_job_events(
    redis: Redis, job_id: str, *, after: str = "0-0", limit: int, event_type: str | None = None
) -> list[JobEvent] | None:
    """At most `limit` events after an id, oldest first; None where there is no such stream. Raises RedisUnavailable."""
    key = keys.job_events(job_id)
    found: list[JobEvent] = []
    count = _PAGE if event_type is not None else min(limit, _PAGE)
    while True:
        entries = await command(redis, "XRANGE", key, f"({after}", "+", "COUNT", count)
        events = (JobEvent.read(entry_id, fields) for entry_id, fields in entries)
        found += [event for event in events if event_type in (None, event.event_type)]
        if len(found) >= limit:
            return found[:limit]
        if len(entries) < count:
            break
        after = entries[-1][0].decode()
    newest = found or await command(redis, "XREVRANGE", key, "+", "-", "COUNT", 1)
    return found if newest else None


def _checked(job_id: str) -> str:
    if not isinstance(job_id, str) or not is_client_id(job_id):
        raise JobEventRejected("a job's id has 1 to 64 characters of A-Z a-z 0-9 . _ ~ : @ -")
    return job_id


def _encoded(event_data: Mapping[str, Any]) -> list[str | bytes]:
    """The fields of an entry. Raises JobEventRejected."""
    if not isinstance(event_data, Mapping):
        raise JobEventRejected(f"an event is a JSON object, not {type(event_data).__name__}")
    event_type = event_data.get("event_type", UNKNOWN)
    if not isinstance(event_type, str) or not 0 < len(event_type) <= MAX_TYPE_CHARS:
        raise JobEventRejected(f"an event_type is a text of 1 to {MAX_TYPE_CHARS} characters")
    try:
        # NaN and halves of surrogate pairs are no JSON: no browser could read the event.
        data = json.dumps(dict(event_data), ensure_ascii=False, allow_nan=False).encode()
        timestamp = str(event_data.get("timestamp") or _now())
        fields: list[str | bytes] = ["data", data, "timestamp", timestamp.encode(), "event_type", event_type.encode()]
    except (TypeError, ValueError, RecursionError) as error:
        raise JobEventRejected(f"not JSON: {type(error).__name__}: {error}") from error
    if len(data) > MAX_DATA_BYTES:
        raise JobEventRejected(f"{len(data)} bytes; an event has at most {MAX_DATA_BYTES}")
    return fields


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def _loggable(value: object) -> str:
    """An id or a type that was refused may be anything; the line that says so must not fail, too."""
    return (
        value if isinstance(value, str) and len(value) <= MAX_TYPE_CHARS and value.isprintable() else ascii(value)[:100]
    )
