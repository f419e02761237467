"""Agent events: what the agents of one task think, do and say, on a stream that the task has for them.

Guarantees
- Events of a stream are numbered 1, 2, 3 … without a gap or a repeat, from however many publishers and processes:
  the script that adds an event also counts it. The order of the numbers is the order in which Redis got them.
- A publish that returned is in the stream. It is tried again while Redis is away, for `timeout_seconds`, and is there
  once all the same: each publish has an id, and a stream remembers its last 256 of them.
- `create` for a task that has a stream closes that one, whose followers get its `connection_end`, and begins a new one
  at 1. A publish that names the generation which `create` answered cannot get into another one.
- An open stream ends by `close`, `create` or `clean_up`, with the event `connection_end`, which nobody can publish.
  The reconciler cleans up: a stream of which nothing was heard for AGENT_SILENCE_SECONDS has lost its publisher. One
  that may be silent for long says that it is alive: `keep_alive`.
- A publish that failed was logged and raises an AgentEventError, and nothing else.
Not guaranteed: that Redis remembers. An open stream is kept for `retention.live` after its last event, a closed one
for `retention.ended`; the one that another took the place of until the next one is created, at most as long. After
AgentEventUnavailable an event may be there or not; the same `publish_id` again adds it at most once.

An entry's id is GENERATION-SEQUENCE. A generation is the moment of its creation in ms, or more: it grows with each.
A client of redis-py belongs to its event loop. Synchronous code publishes through `sluiceway.feeds.agent_threads`.
"""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, RedisError

from sluiceway import keys
from sluiceway.backoff import Backoff
from sluiceway.errors import (
    AgentEventError,
    AgentEventRejected,
    AgentEventUnavailable,
    AgentStreamClosed,
    AgentStreamUnknown,
    RedisUnavailable,
)
from sluiceway.feeds.agent_event import (
    CONNECTION_END,
    AgentEvent,
    AgentEventType,
    Draft,
    PublishedType,
    checked_task_id,
    log_failure,
)
from sluiceway.ids import is_client_id
from sluiceway.process.logs import get_logger
from sluiceway.process.retention import Retention
from sluiceway.redis.client import answered, command, commands, server_time_ms
from sluiceway.scripts import Argument, Scripts

__all__ = ["CONNECTION_END", "AgentEvent", "AgentEventType", "AgentStream", "AgentStreams", "PublishedType"]

# How often a publisher that lives says so.
RENEW_SECONDS = 30.0
_REMEMBERED = 256
_LISTED_EVERY_MS = 60_000
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class AgentStream:
    """What Redis knows of a task's stream. `sequence`: of the newest event, 0 before the first. `user_id`: the only one
    who may follow it, None: everybody with the id. `slot`: which of the task's two keys has its events."""

    task_id: str
    generation: int
    sequence: int
    open: bool
    slot: int
    user_id: str | None
    active_ms: int

    @classmethod
    def parse(cls, fields: Mapping[bytes, bytes]) -> "AgentStream | None":
        """Of the hash in Redis; None of an empty one."""
        text = {name.decode(): value.decode() for name, value in fields.items()}
        if "generation" not in text:
            return None
        return cls(
            task_id=text["task_id"],
            generation=int(text["generation"]),
            sequence=int(text["sequence"]),
            open=text["status"] == "open",
            slot=int(text["slot"]),
            user_id=text.get("user_id"),
            active_ms=int(text["active"]),
        )

    @property
    def created_at(self) -> datetime:
        return _moment(self.generation)

    @property
    def active_at(self) -> datetime:
        """When it was created, published to or closed, whichever was last."""
        return _moment(self.active_ms)

    @property
    def events_key(self) -> str:
        return keys.agent_events(self.task_id, self.slot)


class AgentStreams:
    """The streams of agent events of a Redis. Methods raise RedisUnavailable when it is away."""

    def __init__(self, redis: Redis, retention: Retention | None = None, *, timeout_seconds: float = 5.0) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        kept = retention or Retention.from_environment()
        self._live_ttl_ms, self._retention_ms = kept.live_ms, kept.ended_ms
        self.timeout_seconds = timeout_seconds

    async def create(self, task_id: str, user_id: str | None = None) -> int:
        """Begin a stream; its generation. The one that the task has is closed. Raises AgentEventRejected for an id
        that cannot be one. With a `user_id` nobody else can follow it through a gateway."""
        end = Draft.ending(task_id)
        arguments: list[Argument] = [self._live_ttl_ms, self._retention_ms, task_id, user_id or "", end.head, end.tail]
        generation = int(await self._scripts.run("feeds/create_agent_stream", _keys(task_id), arguments))
        await self._list(task_id, generation)
        return generation

    async def get(self, task_id: str) -> AgentStream | None:
        """The stream that was created last, open or closed; None when Redis knows of none."""
        return AgentStream.parse(
            _bytes(await command(self._redis, "HGETALL", keys.agent_stream(checked_task_id(task_id))))
        )

    async def publish(
        self,
        task_id: str,
        agent_name: str,
        event_type: PublishedType,
        content: str = "",
        metadata: Mapping[str, Any] | None = None,
        *,
        generation: int | None = None,
        publish_id: str | None = None,
    ) -> AgentEvent:
        """Add an event, once; the event with its number.

        `generation`: only into the stream that `create` answered so. `publish_id`: of a publish that is tried again,
        of A-Z a-z 0-9 . _ ~ : @ -. Raises AgentEventRejected, AgentStreamUnknown, AgentStreamClosed, and
        AgentEventUnavailable after `timeout_seconds`.
        """
        try:
            draft = Draft.make(task_id, agent_name, event_type, content, metadata)
            return await self.send(draft, generation=generation, publish_id=publish_id)
        except AgentEventError as error:
            log_failure(task_id, event_type, error)
            raise

    async def send(
        self,
        draft: Draft,
        *,
        generation: int | None = None,
        publish_id: str | None = None,
        seconds: float | None = None,
    ) -> AgentEvent:
        """What `publish` does, of a draft, within so many seconds, and without a line in the log."""
        if publish_id is not None and not is_client_id(publish_id):
            raise AgentEventRejected("a publish_id has 1 to 64 characters of A-Z a-z 0-9 . _ ~ : @ -")
        seconds = self.timeout_seconds if seconds is None else seconds
        if seconds <= 0:
            raise AgentEventUnavailable("its time had passed before it could be sent")
        known_as = publish_id or secrets.token_hex(16)
        try:
            async with asyncio.timeout(seconds):
                answer = await self._until_answered(draft, generation, known_as)
        except TimeoutError:
            raise AgentEventUnavailable(f"no answer within {seconds:.1f} s") from None
        except OutOfMemoryError as error:
            raise AgentEventUnavailable(str(error)) from error
        except (RedisError, RuntimeError) as error:
            # asyncio's RuntimeError: the client belongs to another event loop.
            raise AgentEventRejected(str(error)) from error
        return await self._taken(draft, answer)

    async def close(self, task_id: str, *, generation: int | None = None) -> bool:
        """End the stream. False when there is none of that generation, or it has ended already."""
        return await self._close(task_id, "" if generation is None else generation, silent_ms=0) == b"closed"

    async def renew(self, task_id: str, generation: int) -> bool:
        """Say that the stream's publisher is alive, though it has nothing to publish. False: the stream has ended."""
        arguments = [self._live_ttl_ms, generation, _LISTED_EVERY_MS]
        answer = await self._scripts.run("feeds/renew_agent_stream", _keys(task_id), arguments)
        if len(answer) == 2 and _text(answer[1]) != "0":
            await self._list_again(task_id, int(answer[1]))
        return len(answer) == 2

    async def keep_alive(self, task_id: str, generation: int, *, every_seconds: float = RENEW_SECONDS) -> None:
        """Renew until the stream has ended, or cancelled; also over the time that Redis is away."""
        alive = True
        while alive:
            await asyncio.sleep(every_seconds)
            try:
                alive = await self.renew(task_id, generation)
            except RedisUnavailable as error:
                get_logger().warning("agent_stream_not_renewed", task_id=task_id, reason=str(error))

    async def list_active(self) -> list[AgentStream]:
        """The open ones, the one first that was noted longest ago."""
        listed = await command(self._redis, "ZRANGE", keys.AGENT_STREAMS, 0, -1)
        found: list[AgentStream] = []
        for begin in range(0, len(listed), _PAGE):
            found += [stream for stream in await self._read(listed[begin : begin + _PAGE]) if stream.open]
        return found

    async def clean_up(self, older_than: timedelta) -> list[str]:
        """Close the open streams that were silent for that long, which forgets them after the retention; their tasks'
        ids. Any number may do it at once."""
        return [task_id for task_id in await self.silent(older_than) if await self.close_silent(task_id, older_than)]

    async def silent(self, older_than: timedelta, limit: int = -1) -> list[str]:
        """Tasks of whose streams nothing was noted for that long, the longest silent ones first; -1: all of them."""
        before = await server_time_ms(self._redis) - _ms(older_than)
        listed = await command(self._redis, "ZRANGE", keys.AGENT_STREAMS, "-inf", before, "BYSCORE", "LIMIT", 0, limit)
        return [_text(task_id) for task_id in listed]

    async def close_silent(self, task_id: str, older_than: timedelta) -> bool:
        """Close the stream, if it was silent for that long; whether it was, and was open."""
        answer = await self._close(task_id, "", _ms(older_than))
        if answer == b"unknown":
            await self._unlist(task_id, await server_time_ms(self._redis) - _ms(older_than))
        return answer == b"closed"

    async def events(self, task_id: str) -> list[AgentEvent]:
        """All events of the stream that was created last, the closing one too; none of a stream that is not there."""
        stream = await self.get(task_id)
        found: list[AgentEvent] = []
        after = "-"
        while stream is not None:
            entries = await command(self._redis, "XRANGE", stream.events_key, after, "+", "COUNT", _PAGE)
            found += [AgentEvent.model_validate_json(_bytes(fields)[b"d"]) for _, fields in entries]
            if len(entries) < _PAGE:
                break
            after = "(" + _text(entries[-1][0])
        return found

    async def erase(self, task_ids: Sequence[str]) -> None:
        """Forget the streams of tasks, without a word to their followers. What is published afterwards is refused."""
        forgetting = [("DEL", *_keys(task_id)) for task_id in task_ids]
        unlisting = [("ZREM", keys.AGENT_STREAMS, task_id) for task_id in task_ids]
        for answer in await commands(self._redis, [*forgetting, *unlisting]):
            answered(answer)

    async def _until_answered(self, draft: Draft, generation: int | None, publish_id: str) -> list[Any]:
        backoff = Backoff(first_seconds=0.05, cap_seconds=1.0)
        arguments: list[Argument] = [self._live_ttl_ms, publish_id, "" if generation is None else generation]
        arguments += [draft.event_type, draft.head, draft.tail, _REMEMBERED, _LISTED_EVERY_MS]
        while True:
            try:
                answer: list[Any] = await self._scripts.run(
                    "feeds/publish_agent_event", _keys(draft.task_id), arguments
                )
            except RedisUnavailable:
                await asyncio.sleep(backoff.next_seconds())
            else:
                return [_text(word) for word in answer]

    async def _taken(self, draft: Draft, answer: list[Any]) -> AgentEvent:
        if answer[0] == "unknown":
            raise AgentStreamUnknown(f"there is no agent stream of {draft.task_id}")
        if answer[0] == "closed":
            raise AgentStreamClosed(f"the agent stream of {draft.task_id} has ended, or another one is there")
        if answer[2] != "0":
            await self._list_again(draft.task_id, int(answer[2]))
        return draft.numbered(int(answer[1].partition("-")[2]))

    async def _close(self, task_id: str, generation: int | str, silent_ms: int) -> bytes:
        end = Draft.ending(task_id)
        arguments = [self._retention_ms, generation, silent_ms, end.head, end.tail]
        answer = await self._scripts.run("feeds/close_agent_stream", _keys(task_id), arguments)
        if len(answer) == 2:
            await self._unlist(task_id, int(answer[1]))
        return _text(answer[0]).encode()

    async def _list(self, task_id: str, moment_ms: int) -> None:
        await self._scripts.run(
            "feeds/list_agent_stream", [keys.AGENT_STREAMS], [task_id, moment_ms, self._live_ttl_ms]
        )

    async def _list_again(self, task_id: str, moment_ms: int) -> None:
        """The event is published, whatever becomes of this: a stream that is not listed is only harder to find."""
        try:
            async with asyncio.timeout(self.timeout_seconds):
                await self._list(task_id, moment_ms)
        except (RedisError, RedisUnavailable, TimeoutError) as error:
            get_logger().warning("agent_stream_not_listed", task_id=task_id, reason=str(error))

    async def _unlist(self, task_id: str, moment_ms: int) -> None:
        await self._scripts.run("feeds/unlist_agent_stream", [keys.AGENT_STREAMS], [task_id, moment_ms])

    async def _read(self, task_ids: list[bytes | str]) -> list[AgentStream]:
        asked = [("HGETALL", keys.agent_stream(_text(task_id))) for task_id in task_ids]
        found = [AgentStream.parse(_bytes(answered(fields))) for fields in await commands(self._redis, asked)]
        return [stream for stream in found if stream is not None]


def _keys(task_id: str) -> list[str]:
    return [
        keys.agent_stream(task_id),
        keys.agent_published(task_id),
        keys.agent_events(task_id, 0),
        keys.agent_events(task_id, 1),
    ]


def _ms(period: timedelta) -> int:
    return int(period.total_seconds() * 1000)


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _text(value: bytes | str) -> str:
    """Of a client that answers bytes, or of one that decodes."""
    return value.decode() if isinstance(value, bytes) else value


def _bytes(fields: Mapping[Any, Any]) -> dict[bytes, bytes]:
    return {_text(name).encode(): _text(value).encode() for name, value in fields.items()}
