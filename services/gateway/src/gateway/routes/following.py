"""From a task to its open stream: where it resumes, and what its response says first.

The reading begins before the head is sent, so that a stream that cannot be followed has a proper answer.
"""

import asyncio
import time
from collections.abc import Mapping

from sluiceway import keys
from sluiceway.errors import RedisUnavailable, StreamTruncated
from sluiceway.stream.task_meta import TaskMeta
from sluiceway.wire.entry_id import EntryId
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.api.cursors import BEGINNING
from gateway.api.problems import Draining, ProblemType, TooManyStreams
from gateway.callers.caller import Caller
from gateway.callers.limits import Limits
from gateway.callers.rechecks import Rechecks
from gateway.fanout.hub import Follow, Size, StreamEnded, Subscription
from gateway.routing.table import Success
from gateway.state import Gateway
from gateway.wire.sse import UI_MESSAGES, EventStream
from gateway.wire.unwound import Unwound

EVENT_STREAM = "text/event-stream"
STREAM = Success("The turn's events until its end; each has an id to resume from.", media_type=EVENT_STREAM)
NOTHING = Success("There is nothing, or nothing more, to follow.", media_type=None)
PROBLEMS: tuple[ProblemType, ...] = (StreamTruncated, RedisUnavailable, TooManyStreams, Draining)


async def open_stream(
    gateway: Gateway,
    caller: Caller,
    task_id: str,
    *,
    version: int,
    cursor: EntryId = BEGINNING,
    skip: int | None = None,
    merge: bool = False,
    headers: Mapping[str, str] | None = None,
    head_only: bool = False,
    known: TaskMeta | None = None,
    size: Size | None = None,
    counts: bool = False,
    answer_only: bool = False,
    greeting: bytes = b"",
) -> Response:
    """Follow a task that the caller may follow. 204 when the cursor is at the end already.

    `skip`: leave out so many chunks from the beginning. `merge`: join what is replayed, for clients that count nothing.
    `answer_only`: for clients that show one answer at a time: it ends where the turn goes into the background.
    `counts`: the client counts what it is sent, and may come back with that; so does one that names `skip`.
    `greeting`: events that come before it.
    `known`: the task's metadata, where the caller has just read it. `size`: `measure_stream` of it, begun before that.
    """
    size = size or measure_stream(gateway, task_id)
    meta = known or await gateway.registry.meta(task_id)
    waits = cursor == BEGINNING and skip is None and not counts and (meta is None or meta.status == "queued")
    if waits and not head_only:
        gateway.queue_news.watch(task_id, meta)
    follow = Follow(
        keys.task_events(task_id),
        cursor=cursor,
        retracted=meta.retracted if meta else (),
        protocol=version,
        start_index=skip,
        merge=merge,
        waits=waits,
        answer_only=answer_only,
        size=size,
    )
    said = {**UI_MESSAGES, **(headers or {})}
    return await open_follow(gateway, caller, follow, said, head_only=head_only, greeting=greeting, task_id=task_id)


def measure_stream(gateway: Gateway, task_id: str) -> Size:
    return gateway.hub.measure(keys.task_events(task_id))


async def open_follow(
    gateway: Gateway,
    caller: Caller,
    follow: Follow,
    headers: Mapping[str, str] | None = None,
    *,
    head_only: bool = False,
    greeting: bytes = b"",
    task_id: str | None = None,
) -> Response:
    """Follow a stream of whatever kind, which the caller may follow, for as long as his sign-in holds. `greeting`:
    events that come before it. `task_id`: the turn that it shows, if it is one: for as long as that is the caller's."""
    if gateway.drain.breaking:
        raise Draining
    try:
        subscription = await gateway.hub.join(follow)
    except StreamEnded:
        return Response(status_code=204, headers=headers)
    # From here to where it counts nothing is waited for: of many that are asked for at once no more are opened.
    gateway.limits.check_streams(caller)
    stream = EventStream(subscription, headers=headers, greeting=greeting)
    if head_only:
        return HeadOnly(stream)
    # What stays alive around a stream costs memory: on a machine of one person nothing has to.
    if caller.kind == "local":
        return Unwound(stream)
    own_task_id = None if caller.reads_all else task_id
    return Unwound(Kept(stream, subscription, caller, own_task_id, gateway.limits, gateway.rechecks))


class Kept:
    """A stream that counts while it is open, and is broken off when the sign-in of who follows it ends, or he may
    follow it no more. He comes back with another token, or does not."""

    __slots__ = ("_limits", "_rechecks", "_stream", "_subscription", "caller", "task_id")

    def __init__(
        self,
        stream: EventStream,
        subscription: Subscription,
        caller: Caller,
        task_id: str | None,
        limits: Limits,
        rechecks: Rechecks,
    ) -> None:
        self.caller = caller
        self.task_id = task_id
        self._stream = stream
        self._subscription = subscription
        self._limits = limits
        self._rechecks = rechecks

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        return self._stream.raw_headers

    async def run(self, receive: Receive, send: Send) -> None:
        timer = self._timer()
        self._limits.opened(self.caller)
        self._rechecks.add(self)
        try:
            await self._stream.run(receive, send)
        finally:
            self._rechecks.remove(self)
            self._limits.closed(self.caller)
            if timer is not None:
                timer.cancel()

    def break_off(self, reason: str) -> None:
        self._subscription.break_off(reason)

    def _timer(self) -> asyncio.TimerHandle | None:
        expires_at = self.caller.expires_at
        if expires_at is None:
            return None
        seconds = max(0.0, expires_at - time.time())
        return asyncio.get_running_loop().call_later(seconds, self._subscription.break_off, "the sign-in has ended")


class HeadOnly(Response):
    """The answer to HEAD: what GET would say first, and no body whose length would be told."""

    status_code = 200

    def __init__(self, stream: EventStream) -> None:
        self.stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.stream.raw_headers})
        await send({"type": "http.response.body", "body": b""})
