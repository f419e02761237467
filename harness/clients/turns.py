"""All parts of task streams and of a turn's life, for tests and benches. A service builds those that it uses."""

from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.feeds.person_events import PersonEvents
from sluiceway.operation.completions import Completions
from sluiceway.operation.publishing import Operations
from sluiceway.process.retention import Retention
from sluiceway.queue.work_queue import Producer
from sluiceway.store import Store
from sluiceway.stream.operation_entries import OperationEntries
from sluiceway.stream.operation_output import OperationOutput
from sluiceway.stream.reader import TaskReader
from sluiceway.stream.registry import TaskRegistry
from sluiceway.stream.writer import TaskWriter
from sluiceway.turn.background import TurnBackground
from sluiceway.turn.dispatch import TurnDispatch
from sluiceway.turn.ending import TurnEnding
from sluiceway.turn.erasing import TurnErasing
from sluiceway.turn.intake import TurnIntake
from sluiceway.turn.lookup import TurnLookup
from sluiceway.turn.pause import TurnPause
from sluiceway.turn.rebuild import TurnRebuild
from sluiceway.turn.resume import TurnResume
from sluiceway.turn.shown import TurnMessage

from harness.retention import RETENTION


class Streams:
    def __init__(self, redis: Redis, retention: Retention = RETENTION) -> None:
        self.registry = TaskRegistry(redis, retention)
        self.writer = TaskWriter(redis, retention)
        self.reader = TaskReader(redis)
        self.output = OperationOutput(redis, retention)
        self.entries = OperationEntries(redis)


class Turns:
    def __init__(self, store: Store, redis: Redis, streams: Streams) -> None:
        queue = Producer(redis, keys.CHAT)
        registry, writer, reader = streams.registry, streams.writer, streams.reader
        self.message = TurnMessage(store, reader)
        self.rebuild = TurnRebuild(store, registry, writer, self.message)
        self.people = PersonEvents(redis, RETENTION)
        self.dispatch = TurnDispatch(store, registry, queue, self.people)
        self.erasing = TurnErasing(redis, store, registry, writer, reader, RETENTION)
        self.resume = TurnResume(registry, streams.output, queue)
        self.ending = TurnEnding(store, registry, writer, reader, self.dispatch, self.erasing, self.people)
        self.background = TurnBackground(store, registry, streams.output, self.dispatch, self.ending)
        operations = Operations(redis, streams.entries)
        self.pause = TurnPause(store, writer, operations, self.rebuild, self.background, Completions(redis))
        self.intake = TurnIntake(
            store, registry, self.dispatch, self.ending, self.erasing, self.people, self.background
        )
        self.lookup = TurnLookup(store, registry)
