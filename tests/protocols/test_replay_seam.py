"""The seam between replay and live: browsers of a real hub that come, stall, leave and come back while a turn is told.

The hub, the readers and the writers run on one event loop; only Redis is apart. A browser here is what the gateway has
on the other side of an ASGI server: something that takes bytes, or does not. Two things are asked of what it got. It is
the stream after the cursor it came with, less what its protocol and the metadata of that moment leave out. And where it
began at 0, it folds without a fault, on whatever connections it came, to the text of the attempt that ended the turn.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import uuid4

import pytest
from chat_worker.flusher import Flusher, StreamWriter
from chat_worker.turn.takeover import take_over
from gateway.fanout.hub import Follow, Hub, StreamEnded
from gateway.fanout.subscriber import StreamBroken
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.scripts import Scripts
from sluiceway.stream.entry import Entry
from sluiceway.turn.shown import Durable
from sluiceway.wire.entry_id import EntryId, parse_entry_id
from sluiceway.wire.events import Data, Event, Finish, StartStep, TextDelta, TextStart
from sluiceway.wire.message import MessageFold
from sluiceway.wire.task import TaskFields

from harness.clients.folding import fold
from harness.clients.sse import Event as Seen
from harness.clients.turns import Streams
from tests.protocols.machine import Machine, play

HUB = "protocols-hub"
MANY = 700  # more than the hub reads at once
_PATIENCE_SECONDS = 20

picks = st.integers(0, 20)
protocols = st.sampled_from((6, 7))
rarely = st.sampled_from((False, False, False, False, True))
# Before what an attempt may die, or somebody comes; None: it does not.
Place = Literal["opening", "void", "done"]
deaths: st.SearchStrategy[Place | None] = st.sampled_from((None, None, "opening", "void", "done"))
sizes = st.lists(st.integers(1, 3), min_size=1, max_size=4)


@dataclass
class Connection:
    """One response. `after`: the cursor it was asked for with; `retracted`: what was left out at that moment."""

    after: EntryId
    retracted: tuple[tuple[EntryId, EntryId], ...]
    got: list[Seen] = field(default_factory=list)
    end: Literal["open", "clean", "left"] = "open"


class Browser:
    """`moved` is set whenever something has come."""

    def __init__(self, protocol: int, cursor: EntryId, moved: asyncio.Event) -> None:
        self.protocol = protocol
        self.began = self.cursor = cursor
        self.connections: list[Connection] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self._moved = moved
        self._gone = asyncio.Event()
        self._served: asyncio.Task[None] | None = None

    @property
    def seen(self) -> list[Seen]:
        return [event for connection in self.connections for event in connection.got]

    @property
    def here(self) -> bool:
        return bool(self.connections) and self.connections[-1].end == "open"

    async def come(self, hub: Hub, streams: Streams, task_id: str) -> None:
        """As the gateway does it: the metadata first, then the stream."""
        meta = await streams.registry.meta(task_id)
        assert meta is not None
        connection = Connection(self.cursor, meta.retracted)
        self.connections.append(connection)
        follow = Follow(keys.task_events(task_id), cursor=self.cursor, retracted=meta.retracted, protocol=self.protocol)
        try:
            subscription = await hub.join(follow)
        except StreamEnded:
            connection.end = "clean"
            return
        self._gone.clear()
        self._served = asyncio.create_task(subscription.run(self._receive, self._send), name="browser")

    async def leave(self) -> None:
        """Close the tab, whatever was still to come."""
        if self.here and self._served is not None:
            self._gone.set()
            self.takes.set()
            self.connections[-1].end = "left"
            await self._served

    async def ended(self) -> None:
        """The server's side has nothing left to do. Raises what broke it."""
        if self._served is not None:
            await self._served

    async def _receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if not self.takes.is_set():
            await self.takes.wait()
        connection = self.connections[-1]
        if connection.end != "open":
            return
        for frame in message["body"].decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in frame.splitlines() if ": " in line)
            if "id" in fields:
                connection.got.append(Seen(fields["id"], fields["data"]))
                self.cursor = parse_entry_id(fields["id"])
        if not message.get("more_body"):
            connection.end = "clean"
        self._moved.set()


class Seam(Machine):
    def __init__(self, loop: asyncio.AbstractEventLoop, redis: Redis, hub: Hub) -> None:
        super().__init__(loop)
        self.redis = redis
        self.hub = hub
        self.scripts = Scripts(redis)
        self.streams = Streams(redis)
        self.flusher = Flusher(self.scripts, live_ttl_ms=self.streams.registry.live_ttl_ms)
        name = uuid4().hex
        self.task = TaskFields(name, f"ses_{name}", None, "msg_1", "today")
        self.moved = asyncio.Event()
        self.browsers: list[Browser] = []
        self.attempt = self.tokens = 0
        self.writer: StreamWriter | None = None
        self.fold = MessageFold()
        self.text = ""
        self.was_cut = False

    @initialize(protocol=protocols)
    def begin(self, protocol: int) -> None:
        self.run(self.streams.registry.create(self.task))
        self.browse(protocol)
        self.an_attempt_begins(dies=None, comes=None)

    # Who writes

    @rule(dies=deaths, comes=st.none() | st.tuples(deaths, protocols))
    def an_attempt_begins(self, dies: Place | None, comes: tuple[Place | None, int] | None) -> None:
        """On what its predecessors left. It may die between its first signs, and somebody may come then."""
        self.run(self.take_over(dies, comes))

    async def take_over(self, dies: Place | None = None, comes: tuple[Place | None, int] | None = None) -> None:
        """In the order of the chat worker's handler."""
        self.attempt += 1
        begun = await self.streams.writer.begin(self.task, self.attempt)
        entries = await self.streams.reader.read(self.task.task_id) if begun.last_id is not None else []
        beginning = take_over(entries, Durable(), self.task.message_id, self.attempt, begun.retracted)
        self.writer, self.fold, self.text = None, beginning.fold, ""
        writer = self.flusher.open(self.task.task_id, self.attempt)
        for place in ("opening", "void", "done"):
            if comes is not None and comes[0] == place:
                await self.new_browser(comes[1], (0, 0)).come(self.hub, self.streams, self.task.task_id)
            if dies == place:
                return
            if place == "opening":
                for event, version in beginning.opening:
                    writer.write(event, version)
                await self.flush(writer)
            elif place == "void" and beginning.retracted is not None:
                await self.streams.writer.mark_retracted(self.task.task_id, beginning.retracted)
        self.writer = writer

    @rule(batches=sizes)
    def text_is_told(self, batches: list[int]) -> None:
        if self.writer is not None:
            self.run(self.tell(self.writer, batches))

    @rule(batches=sizes, protocol=protocols, pick=picks, slow=st.booleans())
    def text_is_told_while_others_come(self, batches: list[int], protocol: int, pick: int, slow: bool) -> None:
        """A new one, and one who was here before. A slow one takes what it came for when more is told."""
        self.run(self.tell_and_come(batches, protocol, pick, slow))

    async def tell_and_come(self, batches: list[int], protocol: int, pick: int, slow: bool) -> None:
        gone = [browser for browser in self.browsers if not browser.here]
        coming = [self.new_browser(protocol, (0, 0)), *gone[:1]]
        for browser in coming:
            if slow:
                browser.takes.clear()
        acts = [browser.come(self.hub, self.streams, self.task.task_id) for browser in coming]
        if self.writer is not None:
            acts.insert(pick % (len(acts) + 1), self.tell(self.writer, batches))
        await asyncio.gather(*acts)
        if slow:
            await self.caught_up()
        for browser in coming:
            browser.takes.set()

    async def tell(self, writer: StreamWriter, batches: list[int]) -> None:
        for size in batches:
            for _ in range(size):
                self.say(writer)
            await self.flush(writer)

    def say(self, writer: StreamWriter) -> None:
        self.tokens += 1
        events: list[Event] = [] if self.fold.step_open else [StartStep()]
        part = f"part-{self.attempt}"
        if not self.text:
            events.append(TextStart(id=part))
        events.append(TextDelta(id=part, delta=f"{self.tokens} "))
        self.text += f"{self.tokens} "
        for event in events:
            writer.write(event)
            self.fold.add(event)

    @rule(really=rarely)
    def more_is_told_than_is_read_at_once(self, really: bool) -> None:
        if self.writer is not None and really:
            for number in range(MANY):
                self.writer.write(Data(type="data-number", data=number))
            self.run(self.flush(self.writer))

    async def flush(self, writer: StreamWriter) -> None:
        call = writer.take()
        if call is not None:
            (answer,) = await self.scripts.run_many([call])
            assert answer == b"ok"
            writer.answered("ok")

    # Who reads

    @rule(protocol=protocols)
    def browse(self, protocol: int) -> None:
        browser = self.new_browser(protocol, (0, 0))
        self.run(browser.come(self.hub, self.streams, self.task.task_id))

    @rule(protocol=protocols, pick=picks)
    def browse_from_the_middle(self, protocol: int, pick: int) -> None:
        entries = self.entries()
        if entries:
            browser = self.new_browser(protocol, entries[pick % len(entries)].entry_id)
            self.run(browser.come(self.hub, self.streams, self.task.task_id))

    @rule(pick=picks)
    def leave(self, pick: int) -> None:
        self.run(self.browsers[pick % len(self.browsers)].leave())

    @rule(pick=picks)
    def leave_and_come_back(self, pick: int) -> None:
        browser = self.browsers[pick % len(self.browsers)]
        self.run(browser.leave())
        self.run(browser.come(self.hub, self.streams, self.task.task_id))

    @rule(pick=picks)
    def stall(self, pick: int) -> None:
        self.browsers[pick % len(self.browsers)].takes.clear()

    @rule(pick=picks)
    def take_again(self, pick: int) -> None:
        self.browsers[pick % len(self.browsers)].takes.set()

    @rule()
    def everybody_catches_up(self) -> None:
        self.run(self.caught_up())

    @rule(really=rarely)
    def the_hub_loses_its_connection(self, really: bool) -> None:
        """Once at most: it waits for longer each time."""
        if really and not self.was_cut:
            self.was_cut = True
            self.run(self.cut())

    async def cut(self) -> None:
        for client in await self.redis.client_list():
            if client["name"] == HUB:
                await self.redis.client_kill_filter(_id=client["id"])

    def new_browser(self, protocol: int, cursor: EntryId) -> Browser:
        self.browsers.append(Browser(protocol, cursor, self.moved))
        return self.browsers[-1]

    # What must hold

    def entries(self) -> list[Entry]:
        return self.run(self.streams.reader.read(self.task.task_id))

    @invariant()
    def nobody_has_missed_or_seen_twice_what_was_told(self) -> None:
        entries = self.entries()
        for browser in self.browsers:
            for connection in browser.connections:
                shown = _shown(entries, browser.protocol, connection)
                got = [event.id for event in connection.got]
                assert got == shown[: len(got)], f"{browser.protocol} after {connection.after}"

    async def caught_up(self) -> None:
        """Everybody who is here, and takes what comes, has all of it."""
        entries = await self.streams.reader.read(self.task.task_id)
        here = [browser for browser in self.browsers if browser.here and browser.takes.is_set()]
        await self.until(
            lambda: all(
                len(browser.connections[-1].got) == len(_shown(entries, browser.protocol, browser.connections[-1]))
                for browser in here
            )
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while not condition():
                self.moved.clear()
                await self.moved.wait()

    def finish(self) -> None:
        """The turn ends; everybody takes what is left, and those who are not here come back for it."""
        self.run(self.end())
        self.nobody_has_missed_or_seen_twice_what_was_told()
        for browser in self.browsers:
            if browser.began == (0, 0):
                message = fold(browser.seen, browser.protocol)
                assert message.finish is not None
                assert message.last_step_text == self.text

    async def end(self) -> None:
        if self.writer is None:
            await self.take_over()
        assert self.writer is not None
        await self.tell(self.writer, [1])
        last = [*self.fold.closers(), Finish()]
        await self.streams.writer.close(self.task, self.attempt, "completed", last, proof=self.writer.written)
        for browser in self.browsers:
            browser.takes.set()
            if not browser.here:
                await browser.come(self.hub, self.streams, self.task.task_id)
        await self.until(lambda: not any(browser.here for browser in self.browsers))
        for browser in self.browsers:
            await browser.ended()

    def teardown(self) -> None:
        super().teardown()
        self.run(self.abandon())

    async def abandon(self) -> None:
        """After a failure, too, the next example finds a hub without subscribers."""
        for browser in self.browsers:
            try:
                await browser.leave()
            except StreamBroken:
                continue


def _shown(entries: Sequence[Entry], protocol: int, connection: Connection) -> list[str]:
    """The ids of what a connection was asked for: after its cursor, in its protocol, and not void. Who has seen some of
    an abandoned step gets the rest of it."""
    retracted = [pair for pair in connection.retracted if connection.after <= pair[0]]
    shown = [
        entry.entry_id
        for entry in entries
        if entry.entry_id > connection.after
        and entry.protocol in (None, protocol)
        and not any(kept < entry.entry_id < resumed for kept, resumed in retracted)
    ]
    return [f"{attempt}-{sequence}" for attempt, sequence in shown]


@pytest.fixture
def hub(valkey_url: str, loop: asyncio.AbstractEventLoop) -> Iterator[Hub]:
    """A gateway's hub, running whenever the loop does."""
    up, stop = asyncio.Event(), asyncio.Event()

    async def serve() -> Hub:
        running = Hub(valkey_url, name=HUB)
        async with running:
            made.append(running)
            up.set()
            await stop.wait()
        return running

    made: list[Hub] = []
    serving = loop.create_task(serve(), name="hub")
    loop.run_until_complete(up.wait())
    yield made[0]
    stop.set()
    loop.run_until_complete(serving)


@pytest.mark.requirement("TS-3")
@pytest.mark.requirement("TS-10")
@pytest.mark.requirement("TS-2")
def test_whoever_comes_whenever_sees_what_is_told_without_gap_or_repeat(
    server: Redis, hub: Hub, loop: asyncio.AbstractEventLoop
) -> None:
    play(lambda: Seam(loop, server, hub), examples=30, steps=20)
