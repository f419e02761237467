"""The completion consumer's process: a worker process (see there) that applies completions, and runs the reconciler."""

from datetime import timedelta

from sluiceway import keys
from sluiceway.feeds.agent_events import AgentStreams
from sluiceway.operation.publishing import Operations
from sluiceway.queue.work_queue import Producer
from sluiceway.service.worker_process import WorkerProcess, run_worker
from sluiceway.stream.task_streams import TaskStreams
from sluiceway.turn.turns import Turns

from completion_consumer.completions.applying import Applying
from completion_consumer.completions.handler import CompletionHandler
from completion_consumer.completions.progress_reports import ProgressReports
from completion_consumer.metrics import Metrics
from completion_consumer.reconciler.forgotten_ends import ForgottenEnds
from completion_consumer.reconciler.reconciler import Reconciler
from completion_consumer.reconciler.silent_agent_streams import SilentAgentStreams
from completion_consumer.reconciler.unfinished import Unfinished
from completion_consumer.reconciler.unfinished_operations import UnfinishedOperations
from completion_consumer.reconciler.unfinished_turns import UnfinishedTurns
from completion_consumer.settings import Settings


async def build(process: WorkerProcess[Settings]) -> None:
    """The handler of completions, and the reconciler beside it, which repairs with the same parts."""
    settings, redis, store = process.settings, process.redis, process.store
    metrics = Metrics()
    streams = TaskStreams(redis, settings.retention)
    chat = Producer(redis, keys.CHAT)
    operations = Operations(redis, streams)
    turns = Turns(store, streams, chat, operations)
    applying = Applying(store, streams, turns, settings.max_result_chars)
    reports = ProgressReports(store, streams, settings.max_result_chars)

    queue = await process.open_queue(keys.COMPLETIONS)
    handler = CompletionHandler(store, applying, reports, queue.key, settings.max_completion_bytes, metrics)
    worker = process.work_on(queue, handler.handle, handler.dead_letter)

    finalize_after = timedelta(seconds=settings.settle_after_seconds)
    deadline = timedelta(seconds=settings.turn_deadline_seconds)
    unfinished = Unfinished(
        store,
        ForgottenEnds(store, streams, turns, retention=settings.retention.ended),
        UnfinishedTurns(
            store, streams, turns, chat, lease=process.lease, finalize_after=finalize_after, deadline=deadline
        ),
        UnfinishedOperations(
            redis, store, streams, operations, applying, park_for=timedelta(hours=settings.park_hours)
        ),
        SilentAgentStreams(
            AgentStreams(redis, settings.retention), silence=timedelta(seconds=settings.agent_silence_seconds)
        ),
        finalize_after=finalize_after,
    )
    reconciler = Reconciler(store, unfinished, settings.reconcile_seconds, metrics, process.stopping)
    process.beside_until_it_ends("reconciler", reconciler.run)
    process.readiness.ask("reconciler", reconciler.problem)

    metrics.watch(lambda: reconciler.leads, lambda: worker.busy, settings.worker_slots)
    process.registry = metrics.registry


def main() -> None:
    run_worker("completion-consumer", Settings, build)


if __name__ == "__main__":
    main()
