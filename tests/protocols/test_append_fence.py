"""The fence of a task's stream: attempts that begin, write, wait, freeze, wake and end, in any order.

Attempts get their numbers from a counter, as Postgres gives them. Until a turn's end is durable there may be a next
one; every older one is a zombie that knows nothing of it. A batch whose answer was lost is sent again. What happens to
Redis: it is flushed; or a replica takes over, which has another replication id and perhaps lacks the last writes (the
keys are put back as they were, and the server is given a new id by making it a replica of nobody and a primary again).
"""

import asyncio
import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import pytest
from chat_worker.flusher import Flusher, StreamWriter
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.errors import Fenced
from sluiceway.scripts import Scripts
from sluiceway.stream.writer import WriteResult
from sluiceway.wire.events import TERMINAL_TYPES, Data, Finish, Start, TextDelta
from sluiceway.wire.task import EndStatus, Status, TaskFields

from harness.clients.turns import Streams
from tests.protocols.machine import Machine, play

TASK = TaskFields(task_id="task_1", session_id="ses_1", user_id=None, message_id="msg_1", created_at="today")
META, EVENTS = keys.task_meta(TASK.task_id), keys.task_events(TASK.task_id)
WHOLE = Data(type="data-whole", data="the answer, as Postgres has it")

EntryId = tuple[int, int]
picks = st.integers(0, 20)
parts = st.lists(st.sampled_from("ab"), min_size=1, max_size=4)
answer_is_lost = st.booleans()
operations = st.sampled_from(("op_1", "op_2"))
rarely = st.sampled_from((False, False, False, False, True))


@dataclass
class Attempt:
    """A worker as it sees itself. `said`: what it gave its writer."""

    number: int
    life: int
    writer: StreamWriter | None = None
    said: list[str] = field(default_factory=list)


@dataclass
class Known:
    """What Redis was told, and has not forgotten: what a replica may have less of. `shown`: how far operations are."""

    exists: bool = False
    top: int = 0
    running: int | None = None
    waiting: bool = False
    ended: EndStatus | None = None
    cancel: bool = False
    replication_id: int | None = None
    shown: dict[str, int | Literal["end"]] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    entry_id: EntryId
    type: str
    data: str


class Fence(Machine):
    def __init__(self, loop: asyncio.AbstractEventLoop, redis: Redis) -> None:
        super().__init__(loop)
        self.redis = redis
        self.scripts = Scripts(redis)
        self.streams = Streams(redis)
        self.flusher = Flusher(self.scripts, live_ttl_ms=self.streams.registry.live_ttl_ms)
        self.known = Known()
        self.attempts: list[Attempt] = []
        self.claimed = 0
        self.tokens = 0
        # FLUSHALLs, failovers, and whether one of those has forgotten something since the last beginning.
        self.life = self.replication_id = 0
        self.lossy = False
        self.replica: tuple[dict[str, bytes], Known] = ({}, Known())
        # How the turn has ended in Postgres: by which attempt. It happens once, and comes first.
        self.durable: tuple[int, EndStatus] | None = None
        # Whatever any follower can have seen.
        self.seen: dict[EntryId, Entry] = {}

    @initialize()
    def begin_with_one(self) -> None:
        self.run(self.redis.flushall())
        self.create()
        self.claim_and_begin()

    # Workers

    @rule(really=rarely)
    def claim(self, really: bool) -> None:
        """Postgres gives a number, and the worker is slow to use it."""
        if really and self.durable is None:
            self.claimed += 1
            self.attempts.append(Attempt(self.claimed, self.life))

    @rule()
    def claim_and_begin(self) -> None:
        """After the end, what comes too late."""
        self.claim(really=True)
        self.begin(self.attempts[-1])

    @rule()
    def two_begin_in_the_wrong_order(self) -> None:
        self.claim(really=True)
        older = self.attempts[-1]
        self.claim_and_begin()
        self.begin(older)

    @rule(pick=picks, anew=rarely)
    def begin_late(self, pick: int, anew: bool) -> None:
        self.begin(self.attempts[pick % len(self.attempts)], anew)

    def begin(self, attempt: Attempt, anew: bool = False) -> None:
        # A zombie that begins after a flush is not known as one to Redis; Postgres refuses what comes of it.
        is_forgotten = attempt.life != self.life and (attempt.number != self.claimed or self.durable is not None)
        if attempt.writer is not None or is_forgotten:
            return
        before, known = self.entries(), self.known
        try:
            begun = self.run(self.streams.writer.begin(TASK, attempt.number, rebuild=anew))
        except Fenced:
            assert known.ended or attempt.number <= known.top, "the first of its number was fenced"
            assert self.entries() == before
            return
        assert not known.ended
        assert attempt.number > known.top, "an attempt began that is not the newest"
        assert begun.cancelled == known.cancel
        may_lack = known.replication_id not in (None, self.replication_id)
        assert begun.dropped == (bool(before) and (anew or may_lack))
        assert self.entries() == ([] if begun.dropped else before)
        assert begun.last_id == (before[-1].entry_id if before and not begun.dropped else None)
        attempt.writer, attempt.life = self.flusher.open(TASK.task_id, attempt.number), self.life
        self.known = Known(
            True, attempt.number, attempt.number, cancel=known.cancel, replication_id=self.replication_id
        )
        self.known.shown = known.shown
        self.lossy = False
        if not self.entries():
            self.write_start(attempt)

    def write_start(self, attempt: Attempt) -> None:
        assert attempt.writer is not None
        attempt.writer.write(Start(message_id=TASK.message_id))

    @rule(pick=picks, batches=st.lists(st.tuples(parts, answer_is_lost), min_size=1, max_size=4))
    def write_and_flush(self, pick: int, batches: list[tuple[list[str], bool]]) -> None:
        """Adjacent deltas of one part become one entry. A batch whose answer is lost goes out again with the next."""
        attempt = self.somebody(pick)
        if attempt is None or attempt.writer is None:
            return
        for batch, is_lost in batches:
            for part in batch:
                self.tokens += 1
                attempt.said.append(f"{self.tokens};")
                attempt.writer.write(TextDelta(id=part, delta=f"{self.tokens};"))
            self.flush_writer(attempt, attempt.writer, is_lost)

    @rule(pick=picks, batches=st.lists(st.tuples(parts, answer_is_lost), min_size=1, max_size=3))
    def write_and_be_cancelled(self, pick: int, batches: list[tuple[list[str], bool]]) -> None:
        self.write_and_flush(pick, batches[:1])
        self.say_nothing(pick, "request_cancel")
        self.write_and_flush(pick, batches[1:])

    def flush_writer(self, attempt: Attempt, writer: StreamWriter, answer_is_lost: bool = False) -> None:
        call = writer.take()
        if call is None:
            return
        before = self.entries()
        (answer,) = self.run(self.scripts.run_many([call]))
        assert isinstance(answer, bytes), "a script has failed"
        verdict: WriteResult = answer.decode()  # type: ignore[assignment]  # the script's four words
        after = self.entries()
        self.check(attempt, verdict)
        assert after[: len(before)] == before
        if verdict in ("fenced", "lost"):
            assert after == before, f"{verdict}, and written all the same"
        else:
            said = _tokens(_deltas(call.arguments))
            assert _said(after, attempt.number)[-len(said) :] == said or not said, "a batch was not taken"
        if not answer_is_lost:
            writer.answered(verdict)

    @rule(pick=picks)
    def wait(self, pick: int) -> None:
        """Let go, with everything said, until operations have ended."""
        attempt = self.somebody(pick)
        if attempt is None or attempt.writer is None or not self.drained(attempt):
            return
        before = self.entries()
        verdict = self.run(self.streams.writer.wait(TASK.task_id, attempt.number, {}, written=attempt.writer.written))
        self.check(attempt, verdict, cancelled_is_told=False)
        assert self.entries() == before
        if verdict == "ok":
            self.known.running, self.known.waiting, self.known.replication_id = None, True, self.replication_id

    @rule(pick=picks, aside=st.sampled_from(("heartbeat", "release", "create", "request_cancel", "tell_of_it")))
    def say_nothing(self, pick: int, aside: str) -> None:
        """Whatever is done beside writing adds no entry."""
        before, attempt = self.entries(), self.somebody(pick)
        if attempt is not None:
            getattr(self, aside)(attempt)
        assert self.entries() == before

    def heartbeat(self, attempt: Attempt) -> None:
        assert attempt.writer is not None
        (answer,) = self.run(self.scripts.run_many([attempt.writer.heartbeat()]))
        self.check(attempt, answer.decode())

    def release(self, attempt: Attempt) -> None:
        self.run(self.streams.writer.release(TASK.task_id, attempt.number))

    def create(self, _: Attempt | None = None) -> None:
        assert self.run(self.streams.registry.create(TASK)) == (not self.known.exists)
        self.known.exists = True

    def request_cancel(self, _: Attempt) -> None:
        live = self.known.exists and not self.known.ended
        assert self.run(self.streams.registry.request_cancel(TASK.task_id)) == live
        self.known.cancel = self.known.cancel or live

    def tell_of_it(self, _: Attempt) -> None:
        """None of this may bring a forgotten task back without a time to live."""
        self.run(self.streams.registry.set_queue_entry(TASK.task_id, "1-1"))
        self.run(self.streams.entries.note([(TASK.task_id, "op_1", "1-1")]))
        self.run(self.streams.registry.set_owner(TASK.task_id, "ada"))
        self.run(self.streams.writer.mark_retracted(TASK.task_id, ""))
        self.run(self.streams.registry.refresh([TASK.task_id]))

    # Others

    @rule(said=st.lists(st.tuples(operations, st.none() | st.integers(0, 3), rarely), min_size=1, max_size=4))
    def operations_speak(self, said: list[tuple[str, int | None, bool]]) -> None:
        for one in said:
            self.show(*one)

    def show(self, operation: str, number: int | None, final: bool) -> None:
        before, known = self.entries(), self.known
        shown = known.shown.get(operation)
        self.tokens += 1
        event = Data(type="data-said", data=f"{operation} {number} {self.tokens}")
        told = self.run(self.streams.output.show(TASK.task_id, operation, [event], number=number, final=final))
        is_repeat = number is not None and number == shown
        added = self.entries()[len(before) :]
        assert self.entries()[: len(before)] == before
        assert [one.data for one in added] == ([event.encode().decode()] if told == "ok" and not is_repeat else [])
        if not known.waiting or known.ended or known.replication_id != self.replication_id:
            assert told != "ok", "an operation spoke while nobody waited for it"
        elif shown == "end":
            assert told == "ended", "an operation spoke after its end"
        else:
            assert told == ("old" if number is not None and shown is not None and number < shown else "ok")
        if added and (final or number is not None):
            known.shown[operation] = "end" if final else number or 0

    # Ends

    @rule(pick=picks, status=st.sampled_from(("completed", "cancelled")))
    def end(self, pick: int, status: EndStatus) -> None:
        """The holder ends its turn, if Postgres knows no later one. Whoever comes second, or again, changes nothing."""
        attempt = self.somebody(pick)
        if attempt is None or attempt.writer is None or not self.drained(attempt):
            return
        if self.durable is None and attempt.number == self.claimed:
            self.durable = (attempt.number, status)
        if self.durable is not None and self.durable[0] == attempt.number:
            self.close(attempt.number, self.durable[1], proof=attempt.writer.written)

    @rule(really=rarely)
    def end_from_outside(self, really: bool) -> None:
        """Nobody holds the turn, or a zombie; who ends it raises the attempt first. Also: an end is seen through."""
        if self.durable is None:
            if not really:
                return
            self.claimed += 1
            self.durable = (self.claimed, "failed")
        self.close_from_outside()

    def close_from_outside(self) -> None:
        assert self.durable is not None
        attempt, status = self.durable
        self.close(attempt, status, proof=None)

    def close(self, attempt: int, status: EndStatus, proof: int | None) -> None:
        before, known = self.entries(), self.known
        stands = self.run(self.streams.writer.close(TASK, attempt, status, [Finish()], proof=proof))
        after = self.entries()
        if known.ended:
            assert (stands, after) == (known.ended, before), "a second end changed something"
            return
        if stands == "lost":
            unproven = known.running != attempt if proof is not None else known.replication_id != self.replication_id
            assert not known.exists or not before or self.lossy or unproven, "an end was refused that fitted"
            assert after == before
            self.rebuild_closed(attempt + 1, status)
            return
        assert stands == status
        assert known.exists
        assert after[:-1] == before or (not before and [entry.type for entry in after] == ["start", "finish"])
        assert after[-1].type in TERMINAL_TYPES
        self.ended(stands, attempt)

    def rebuild_closed(self, attempt: int, status: EndStatus) -> None:
        self.run(self.streams.registry.create(TASK))
        stands = self.run(self.streams.writer.close(TASK, attempt, status, [WHOLE, Finish()], proof="rebuild"))
        assert stands == status
        assert [entry.type for entry in self.entries()] == ["start", WHOLE.type, "finish"]
        self.ended(status, attempt)

    def ended(self, status: Status, attempt: int) -> None:
        self.known = Known(True, max(attempt, self.known.top), ended=status, replication_id=self.replication_id)  # type: ignore[arg-type]

    # What happens to Redis

    @rule(really=rarely, begins=st.booleans())
    def redis_is_flushed(self, really: bool, begins: bool) -> None:
        if really:
            self.run(self.redis.flushall())
            self.known = Known()
            self.life += 1
            self.replica = ({}, Known())
            if begins:
                self.claim_and_begin()

    @rule()
    def a_replica_gets_everything(self) -> None:
        self.replica = (self.run(self.dump()), copy.deepcopy(self.known))

    @rule(really=rarely)
    def a_replica_takes_over(self, really: bool) -> None:
        if not really:
            return
        stored, known = self.replica
        self.lossy = self.lossy or stored != self.run(self.dump())
        self.run(self.take_over(stored))
        self.known = copy.deepcopy(known)
        self.replication_id += 1

    @rule(pick=picks, batches=st.lists(st.tuples(parts, answer_is_lost), min_size=2, max_size=4), really=st.booleans())
    def the_last_writes_are_lost(self, pick: int, batches: list[tuple[list[str], bool]], really: bool) -> None:
        if really:
            self.write_and_flush(pick, batches[:1])
            self.a_replica_gets_everything()
            self.write_and_flush(pick, batches[1:])
            self.a_replica_takes_over(really=True)
            self.write_and_flush(pick, batches[-1:])
            self.claim_and_begin()

    async def dump(self) -> dict[str, bytes]:
        dumped = {key: await self.redis.dump(key) for key in (META, EVENTS)}
        return {key: value for key, value in dumped.items() if value is not None}

    async def take_over(self, stored: dict[str, bytes]) -> None:
        await self.redis.flushall()
        for key, value in stored.items():
            await self.redis.restore(key, self.streams.registry.live_ttl_ms, value)
        await self.redis.replicaof("127.0.0.1", 1)
        await self.redis.replicaof("NO", "ONE")

    # What must hold

    def check(self, attempt: Attempt, verdict: str, *, cancelled_is_told: bool = True) -> None:
        """Who writes is told so, and nobody else is."""
        if self.known.running != attempt.number or attempt.life != self.life:
            assert verdict in ("fenced", "lost"), "an attempt that is not the writer was told that it is"
        elif self.known.cancel and cancelled_is_told:
            assert verdict == "cancelled" or (self.lossy and verdict == "lost")
        else:
            assert verdict == "ok" or (self.lossy and verdict == "lost")

    def somebody(self, pick: int) -> Attempt | None:
        """A worker that has a stream: most times the one that began last."""
        begun = [attempt for attempt in self.attempts if attempt.writer is not None]
        if not begun:
            return None
        return begun[-1] if pick % 4 else begun[pick // 4 % len(begun)]

    def drained(self, attempt: Attempt) -> bool:
        assert attempt.writer is not None
        while attempt.writer.take() is not None and attempt.writer.result in ("ok", "cancelled"):
            self.flush_writer(attempt, attempt.writer)
        return attempt.writer.result in ("ok", "cancelled")

    def entries(self) -> list[Entry]:
        raw: Any = self.run(self.redis.xrange(EVENTS))
        return [Entry(_id(entry_id), fields[b"t"].decode(), fields[b"d"].decode()) for entry_id, fields in raw]

    @invariant()
    def ids_grow_without_gaps_and_stand_for_one_entry_for_ever(self) -> None:
        before: EntryId = (0, 0)
        for entry in self.entries():
            following = (before[0], before[1] + 1)
            assert entry.entry_id == following or (entry.entry_id[0] > before[0] and entry.entry_id[1] == 0)
            assert self.seen.setdefault(entry.entry_id, entry) == entry, "an id stands for two entries"
            before = entry.entry_id

    @invariant()
    def what_an_attempt_said_stands_once_in_its_order_and_without_gaps(self) -> None:
        entries = self.entries()
        for attempt in self.attempts:
            said = _said(entries, attempt.number)
            assert said == attempt.said[: len(said)]

    @invariant()
    def a_stream_starts_once_and_ends_once(self) -> None:
        types = [entry.type for entry in self.entries()]
        assert "start" not in types[1:]
        assert types[:1] in ([], ["start"])
        assert not TERMINAL_TYPES & set(types[:-1])
        assert bool(TERMINAL_TYPES & set(types)) == (self.known.ended is not None)

    @invariant()
    def every_key_has_a_time_to_live(self) -> None:
        names: Any = self.run(self.redis.keys("*"))
        for name in names:
            assert self.run(self.redis.pttl(name)) > 0, f"{name.decode()} is for ever"

    def finish(self) -> None:
        """Somebody ends the turn, and nobody writes a word after that."""
        if self.durable is None:
            self.claimed += 1
            self.durable = (self.claimed, "failed")
        self.close_from_outside()
        closed = self.entries()
        for attempt in self.attempts:
            self.begin(attempt)
            if attempt.writer is not None:
                attempt.writer.write(TextDelta(id="a", delta="from the grave"))
                self.flush_writer(attempt, attempt.writer)
        assert self.entries() == closed


def _id(raw: bytes) -> EntryId:
    attempt, _, sequence = raw.partition(b"-")
    return int(attempt), int(sequence)


def _said(entries: Sequence[Entry], attempt: int) -> list[str]:
    """What an attempt's text deltas say, token by token."""
    return _tokens(entry.data for entry in entries if entry.entry_id[0] == attempt and entry.type == "text-delta")


def _deltas(arguments: Sequence[Any]) -> list[bytes]:
    """The JSON of the text deltas of a script call."""
    return [json for kind, json in pairwise(arguments) if kind == "text-delta"]


def _tokens(deltas: Iterable[str | bytes]) -> list[str]:
    text = "".join(TextDelta.model_validate_json(one).delta for one in deltas)
    return [f"{token};" for token in text.split(";") if token]


@pytest.mark.requirement("TS-1")
@pytest.mark.requirement("TS-5")
@pytest.mark.requirement("TS-11")
def test_no_attempt_writes_where_another_does_or_after_the_end(server: Redis, loop: asyncio.AbstractEventLoop) -> None:
    play(lambda: Fence(loop, server), examples=60, steps=30)
