"""The completion consumer's process: a worker process (see there) that applies completions, and runs the reconciler."""

from datetime import timedelta

from sluiceway import keys
from sluiceway.feeds.agent_events import AgentStreams
from sluiceway.feeds.person_events import PersonEvents
from sluiceway.files.objects import FileObjects
from sluiceway.operation.publishing import Operations
from sluiceway.queue.work_queue import Producer
from sluiceway.service.worker_process import WorkerProcess, run_worker
from sluiceway.stream.operation_entries import OperationEntries
from sluiceway.stream.operation_output import OperationOutput
from sluiceway.stream.reader import TaskReader
from sluiceway.stream.registry import TaskRegistry
from sluiceway.stream.writer import TaskWriter
from sluiceway.turn.background import TurnBackground
from sluiceway.turn.catch_up import TurnCatchUp
from sluiceway.turn.dispatch import TurnDispatch
from sluiceway.turn.ending import TurnEnding
from sluiceway.turn.erasing import TurnErasing
from sluiceway.turn.rebuild import TurnRebuild
from sluiceway.turn.resume import TurnResume
from sluiceway.turn.shown import TurnMessage
from sluiceway.turn.turn_metrics import TurnMetrics

from completion_consumer.completions.applying import Applying
from completion_consumer.completions.handler import CompletionHandler
from completion_consumer.completions.progress_reports import ProgressReports
from completion_consumer.metrics import Metrics
from completion_consumer.reconciler.due_erasures import DueErasures
from completion_consumer.reconciler.forgotten_ends import ForgottenEnds
from completion_consumer.reconciler.lost_turns import LostTurns
from completion_consumer.reconciler.reconciler import Reconciler
from completion_consumer.reconciler.retention import Retention
from completion_consumer.reconciler.silent_agent_streams import SilentAgentStreams
from completion_consumer.reconciler.stored_files import StoredFiles
from completion_consumer.reconciler.unfinished import Unfinished
from completion_consumer.reconciler.unfinished_operations import UnfinishedOperations
from completion_consumer.reconciler.unfinished_turns import UnfinishedTurns
from completion_consumer.settings import Settings


async def build(process: WorkerProcess[Settings]) -> None:
    """The handler of completions, and the reconciler beside it, which repairs with the same parts."""
    settings, redis, store = process.settings, process.redis, process.store
    metrics = Metrics(process.registry)
    registry, writer, reader = (
        TaskRegistry(redis, settings.retention),
        TaskWriter(redis, settings.retention),
        TaskReader(redis),
    )
    output, entries = OperationOutput(redis, settings.retention), OperationEntries(redis)
    chat = Producer(redis, keys.CHAT, settings.queue_partitions, settings.weights)
    people = PersonEvents(redis, settings.retention)
    dispatch = TurnDispatch(store, registry, chat, people)
    erasing = TurnErasing(redis, store, registry, writer, reader, settings.retention)
    ending = TurnEnding(store, registry, writer, reader, dispatch, erasing, people)
    rebuild = TurnRebuild(store, registry, writer, TurnMessage(store, reader))
    ending.tell(TurnMetrics(process.registry).ended)
    background = TurnBackground(store, registry, output, dispatch, ending)
    resume = TurnResume(registry, output, chat)
    applying = Applying(store, output, resume, background, dispatch, settings.max_result_chars)
    reports = ProgressReports(store, output, settings.max_result_chars)

    queue = await process.open_queue(keys.COMPLETIONS)
    handler = CompletionHandler(store, applying, reports, queue.key, settings.max_completion_bytes, metrics)
    process.work_on(queue, handler.handle, handler.dead_letter)

    finalize_after = timedelta(seconds=settings.settle_after_seconds)
    lost_turns = LostTurns(redis, store, registry, ending, live_ttl_ms=settings.retention.live_ms)
    process.readiness.look_at("store", lost_turns.told, every_seconds=2, needed=False)
    unfinished = Unfinished(
        store,
        lost_turns,
        ForgottenEnds(store, registry, reader, ending, retention=settings.retention.ended),
        UnfinishedTurns(
            store,
            registry,
            reader,
            writer,
            dispatch,
            ending,
            rebuild,
            background,
            TurnCatchUp(store, registry, reader, dispatch, ending, rebuild),
            chat,
            lease=process.lease,
            finalize_after=finalize_after,
            deadline=timedelta(seconds=settings.turn_deadline_seconds),
        ),
        UnfinishedOperations(
            redis,
            store,
            output,
            entries,
            Operations(redis, entries, partitions=settings.queue_partitions),
            applying,
            people,
            lease=process.lease,
            park_for=timedelta(hours=settings.park_hours),
            claim_within=timedelta(seconds=settings.operation_claim_seconds),
        ),
        SilentAgentStreams(
            AgentStreams(redis, settings.retention), silence=timedelta(seconds=settings.agent_silence_seconds)
        ),
        DueErasures(store, erasing),
        Retention(store, erasing, settings.kept_for),
        StoredFiles(store, FileObjects(settings.files_url), timedelta(hours=settings.keep_unused_files_hours)),
        finalize_after=finalize_after,
    )
    reconciler = Reconciler(
        store, unfinished, settings.reconcile_seconds, settings.drain_seconds, metrics, process.stopping
    )
    process.beside("person-events", people.run)
    process.beside_until_it_ends("reconciler", reconciler.run)
    process.readiness.ask("reconciler", reconciler.problem)

    metrics.watch(lambda: reconciler.leads)


def main() -> None:
    run_worker("completion-consumer", Settings, build)


if __name__ == "__main__":
    main()
