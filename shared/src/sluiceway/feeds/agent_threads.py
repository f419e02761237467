"""Publishing agent events from synchronous code, in any thread.

Guarantees
- `publish_nowait` answers within `timeout_seconds` (5): the event, which then is in the stream, or an AgentEventError.
- On a thread that runs an event loop nothing waits: the event is handed over and `publish_nowait` answers None. If it
  does not get there, that is logged, and counted in `failed`.
- What one thread publishes to a task gets there in that order; tasks do not wait for one another.
- An event whose publisher was told of a failure is not sent afterwards. Only one that was just on its way when the
  time ran out may be there all the same.
- A stream that was created here is kept alive until it is closed, also while its agents say nothing.
- What was handed over and waits is bounded (`max_waiting`); past that a publish fails at once.
Not guaranteed: that a process that ends without `flush` or the end of `open_threads` sends what nobody waited for.

A program with an event loop gives it, and the streams of that loop: `ThreadPublisher(streams, loop)`. One without
opens one, in a thread of its own: `open_threads(redis_url)`. Neither survives a fork: it is made in the process that
uses it.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future, wait
from concurrent.futures import TimeoutError as WaitedTooLong
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from sluiceway.errors import AgentEventError, AgentEventRejected, AgentEventUnavailable
from sluiceway.feeds.agent_event import AgentEvent, Draft, PublishedType, log_failure
from sluiceway.feeds.agent_events import AgentStreams
from sluiceway.process.retention import Retention
from sluiceway.redis.client import open_redis

T = TypeVar("T")

_CONNECTIONS = 16
# So that the loop's answer, which says more, comes before the thread that waits gives up.
_OF_THE_TIME = 0.95


@dataclass(frozen=True, slots=True)
class _Handed:
    """An event on its way to the loop. `deadline` is of time.monotonic()."""

    draft: Draft
    generation: int | None
    deadline: float
    outcome: Future[AgentEvent]
    waited_for: bool


class ThreadPublisher:
    """Hands events over to an event loop, which must go on running. It may be used by any number of threads."""

    def __init__(
        self,
        streams: AgentStreams,
        loop: asyncio.AbstractEventLoop,
        *,
        timeout_seconds: float = 5.0,
        max_waiting: int = 10_000,
    ) -> None:
        self._streams = streams
        self._loop = loop
        self._timeout_seconds = timeout_seconds
        self._max_waiting = max_waiting
        self._lock = threading.Lock()
        self._open: set[Future[AgentEvent]] = set()
        self._failed = 0
        # The loop's own: what waits, by task, and the tasks that send it.
        self._lanes: dict[str, deque[_Handed]] = {}
        self._senders: set[asyncio.Task[None]] = set()
        # What keeps the streams alive that were created here, by task.
        self._renewers: dict[str, asyncio.Task[None]] = {}

    def publish_nowait(
        self,
        task_id: str,
        agent_name: str,
        event_type: PublishedType,
        content: str = "",
        metadata: Mapping[str, Any] | None = None,
        *,
        generation: int | None = None,
    ) -> AgentEvent | None:
        """The event with its number; None on a thread that runs an event loop, where nobody can wait for it.

        Raises AgentEventRejected, AgentStreamUnknown, AgentStreamClosed, AgentEventUnavailable, after logging.
        """
        waits = not _runs_a_loop()
        try:
            draft = Draft.make(task_id, agent_name, event_type, content, metadata)
            outcome = self._hand_over(draft, generation, waits)
            return self._wait(outcome) if waits else None
        except AgentEventError as error:
            log_failure(task_id, event_type, error)
            raise

    def create(self, task_id: str, user_id: str | None = None) -> int:
        """As of AgentStreams; not on a thread that runs an event loop. Raises RuntimeError there, RedisUnavailable."""
        return self._ask(lambda: self._create(task_id, user_id))

    def close(self, task_id: str, *, generation: int | None = None) -> bool:
        """As of AgentStreams; not on a thread that runs an event loop. Raises RuntimeError there, RedisUnavailable."""
        return self._ask(lambda: self._close(task_id, generation))

    @property
    def failed(self) -> int:
        """How many events that were handed over were not published, or perhaps not."""
        return self._failed

    def flush(self, timeout_seconds: float | None = None) -> bool:
        """Wait until everything that was handed over so far is published or has failed. False: some of it was still on
        its way after so many seconds (those of a publish, where none are given).

        Raises RuntimeError on a thread that runs an event loop, which it would block.
        """
        _check_that_it_may_wait()
        seconds = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        with self._lock:
            handed_over = tuple(self._open)
        return not wait(handed_over, seconds).not_done

    def _ask(self, question: Callable[[], Coroutine[Any, Any, T]]) -> T:
        _check_that_it_may_wait()
        asked = question()
        try:
            answer = asyncio.run_coroutine_threadsafe(asked, self._loop)
        except RuntimeError as error:
            asked.close()
            raise AgentEventUnavailable(f"the event loop has ended: {error}") from error
        try:
            return answer.result(self._timeout_seconds)
        except WaitedTooLong:
            answer.cancel()
            raise AgentEventUnavailable(f"no answer within {self._timeout_seconds} s") from None

    def _hand_over(self, draft: Draft, generation: int | None, waits: bool) -> Future[AgentEvent]:
        deadline = time.monotonic() + self._timeout_seconds * _OF_THE_TIME
        handed = _Handed(draft, generation, deadline, Future(), waits)
        with self._lock:
            if len(self._open) >= self._max_waiting:
                raise AgentEventUnavailable(f"{self._max_waiting} events are on their way already")
            try:
                self._loop.call_soon_threadsafe(self._arrived, handed)
            except RuntimeError as error:
                raise AgentEventUnavailable(f"the event loop has ended: {error}") from error
            self._open.add(handed.outcome)
        return handed.outcome

    def _wait(self, outcome: Future[AgentEvent]) -> AgentEvent:
        try:
            return outcome.result(self._timeout_seconds)
        except WaitedTooLong:
            # The loop says more, and earlier, unless it is stuck or has ended.
            if outcome.cancel():
                self._finalized(outcome, failed=True)
            raise AgentEventUnavailable(f"no answer within {self._timeout_seconds} s") from None

    # The loop's side.

    async def _create(self, task_id: str, user_id: str | None) -> int:
        generation = await self._streams.create(task_id, user_id)
        self._stop_renewing(task_id)
        renewer = self._loop.create_task(self._streams.keep_alive(task_id, generation), name="agent-stream-renewer")
        self._renewers[task_id] = renewer
        renewer.add_done_callback(lambda ended: self._renewed(task_id, ended))
        return generation

    async def _close(self, task_id: str, generation: int | None) -> bool:
        closed = await self._streams.close(task_id, generation=generation)
        if closed:
            self._stop_renewing(task_id)
        return closed

    def _renewed(self, task_id: str, renewer: asyncio.Task[None]) -> None:
        """It ended with its stream, which another may have closed."""
        if self._renewers.get(task_id) is renewer:
            del self._renewers[task_id]

    def _stop_renewing(self, task_id: str) -> None:
        renewer = self._renewers.pop(task_id, None)
        if renewer is not None:
            renewer.cancel()

    def _arrived(self, handed: _Handed) -> None:
        lane = self._lanes.get(handed.draft.task_id)
        if lane is not None:
            lane.append(handed)
            return
        self._lanes[handed.draft.task_id] = lane = deque([handed])
        sender = self._loop.create_task(self._send_all(handed.draft.task_id, lane), name="agent-events")
        self._senders.add(sender)
        sender.add_done_callback(self._senders.discard)

    async def _send_all(self, task_id: str, lane: deque[_Handed]) -> None:
        try:
            while lane:
                handed = lane.popleft()
                # False: the thread that waited for it has given up.
                if handed.outcome.set_running_or_notify_cancel():
                    await self._send(handed)
        finally:
            del self._lanes[task_id]
            for unsent in lane:
                if unsent.outcome.set_running_or_notify_cancel():
                    self._fail(unsent, AgentEventUnavailable("the event loop ends"))

    async def _send(self, handed: _Handed) -> None:
        try:
            event = await self._streams.send(
                handed.draft, generation=handed.generation, seconds=handed.deadline - time.monotonic()
            )
        except asyncio.CancelledError:
            self._fail(handed, AgentEventUnavailable("the event loop ends"))
            raise
        except AgentEventError as error:
            self._fail(handed, error)
        except Exception as unforeseen:  # noqa: BLE001 - the thread that waits is told whatever it was
            self._fail(handed, AgentEventRejected(repr(unforeseen)))
        else:
            self._finalized(handed.outcome)
            handed.outcome.set_result(event)

    def _fail(self, handed: _Handed, error: AgentEventError) -> None:
        if not handed.waited_for:
            log_failure(handed.draft.task_id, handed.draft.event_type, error)
        self._finalized(handed.outcome, failed=True)
        handed.outcome.set_exception(error)

    def _finalized(self, outcome: Future[AgentEvent], *, failed: bool = False) -> None:
        with self._lock:
            self._open.discard(outcome)
            self._failed += failed

    async def finalize(self) -> None:
        """Wait, on the loop, until what has arrived is sent or has failed."""
        while self._senders:
            await asyncio.wait(self._senders)


_Opened = tuple[ThreadPublisher, asyncio.AbstractEventLoop, asyncio.Event]


@contextmanager
def open_threads(
    redis_url: str, retention: Retention | None = None, *, timeout_seconds: float = 5.0, max_waiting: int = 10_000
) -> Iterator[ThreadPublisher]:
    """A publisher with a thread, an event loop and connections of its own. `retention`: that of the services;
    None: what LIVE_TTL_SECONDS and RETENTION_SECONDS in the environment say.

    It connects when it has something to send, so it opens also while Redis is away. The end of the block waits until
    what was handed over is published or refused, for `timeout_seconds` at most; not on a thread that runs an event
    loop.
    """
    kept = retention or Retention.from_environment()
    opened: Future[_Opened] = Future()
    thread = threading.Thread(
        target=lambda: asyncio.run(_serve(redis_url, kept, timeout_seconds, max_waiting, opened)),
        name="agent-events",
        daemon=True,
    )
    thread.start()
    publisher, loop, ending = opened.result()
    try:
        yield publisher
    finally:
        loop.call_soon_threadsafe(ending.set)
        if not _runs_a_loop():
            thread.join()


async def _serve(
    redis_url: str, retention: Retention, timeout_seconds: float, max_waiting: int, opened: "Future[_Opened]"
) -> None:
    try:
        redis = open_redis(redis_url, name="sluiceway-agents", max_connections=_CONNECTIONS)
    except Exception as error:  # noqa: BLE001 - an address that is none: it is the opener's to see
        opened.set_exception(error)
        return
    async with redis:
        streams = AgentStreams(redis, retention, timeout_seconds=timeout_seconds)
        loop, ending = asyncio.get_running_loop(), asyncio.Event()
        publisher = ThreadPublisher(streams, loop, timeout_seconds=timeout_seconds, max_waiting=max_waiting)
        opened.set_result((publisher, loop, ending))
        await ending.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await publisher.finalize()


def _check_that_it_may_wait() -> None:
    if _runs_a_loop():
        raise RuntimeError("this waits: call it on a thread without an event loop")


def _runs_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
