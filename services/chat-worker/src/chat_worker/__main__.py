"""The chat worker's process: a worker process (see there) that calls the model and writes the streams of its turns."""

import asyncio

from sluiceway import keys
from sluiceway.feeds.person_events import PersonEvents
from sluiceway.files.objects import FileObjects
from sluiceway.operation.catalogue import Catalogue
from sluiceway.operation.completions import Completions
from sluiceway.operation.publishing import Operations
from sluiceway.queue.work_queue import Producer
from sluiceway.scripts import Scripts
from sluiceway.service.model_budget import ModelBudget
from sluiceway.service.worker_process import WorkerProcess, run_worker
from sluiceway.stream.operation_entries import OperationEntries
from sluiceway.stream.operation_output import OperationOutput
from sluiceway.stream.reader import TaskReader
from sluiceway.stream.registry import TaskRegistry
from sluiceway.stream.writer import TaskWriter
from sluiceway.turn.background import TurnBackground
from sluiceway.turn.dispatch import TurnDispatch
from sluiceway.turn.ending import TurnEnding
from sluiceway.turn.erasing import TurnErasing
from sluiceway.turn.pause import TurnPause
from sluiceway.turn.rebuild import TurnRebuild
from sluiceway.turn.shown import TurnMessage
from sluiceway.turn.turn_metrics import TurnMetrics
from sluiceway_llm.calling.background import BackgroundModel
from sluiceway_llm.calling.model import Model
from sluiceway_llm.prices import Prices

from chat_worker.context.context import Context
from chat_worker.context.notes import NoteTaking
from chat_worker.context.summary import Summariser
from chat_worker.context.windows import Windows
from chat_worker.flusher import Flusher
from chat_worker.handler import ChatHandler
from chat_worker.langfuse import LangfusePrompt, client_of
from chat_worker.metrics import Metrics
from chat_worker.model_readiness import about_model, answers
from chat_worker.prompt.attachments import Attachments
from chat_worker.prompt.system_prompt import FixedPrompt, PromptSource
from chat_worker.settings import Settings
from chat_worker.step.ending import Exits
from chat_worker.titles.titles import Titles
from chat_worker.turn.attempts import Attempts
from chat_worker.turn.opening import Opening
from chat_worker.turn.requests import Requests
from chat_worker.turn.runner import TurnRunner
from chat_worker.turn.steps import TurnSteps

_MODEL_PERIOD_SECONDS = 15


async def build(process: WorkerProcess[Settings]) -> None:
    """The model, the flusher for all streams of the process, and the handler of turns."""
    settings, redis, store = process.settings, process.redis, process.store
    kind_of_model = BackgroundModel if settings.model_continuation == "background" else Model
    budget = ModelBudget(redis, settings.limits_of) if settings.limits_models else None
    model = await process.open(
        kind_of_model.from_settings(
            settings, max_connections=settings.worker_slots, continuation=settings.prefix_dialect, budget=budget
        )
    )
    registry, writer, reader = (
        TaskRegistry(redis, settings.retention),
        TaskWriter(redis, settings.retention),
        TaskReader(redis),
    )
    message = TurnMessage(store, reader)
    rebuild = TurnRebuild(store, registry, writer, message)
    chat = Producer(redis, keys.CHAT, settings.queue_partitions, settings.weights)
    people = PersonEvents(redis, settings.retention)
    dispatch = TurnDispatch(store, registry, chat, people)
    erasing = TurnErasing(redis, store, registry, writer, reader, settings.retention)
    ending = TurnEnding(store, registry, writer, reader, dispatch, erasing, people)
    ending.tell(TurnMetrics(process.registry).ended)
    background = TurnBackground(store, registry, OperationOutput(redis, settings.retention), dispatch, ending)
    pause = TurnPause(
        store,
        writer,
        Operations(redis, OperationEntries(redis), partitions=settings.queue_partitions),
        rebuild,
        background,
        Completions(redis, partitions=settings.queue_partitions),
    )

    flusher = Flusher(Scripts(redis), live_ttl_ms=writer.live_ttl_ms)
    metrics = Metrics(process.registry)
    metrics.watch(process.registry, flusher)
    catalogue = Catalogue(redis)
    prompts = await _prompts(process)
    prices = Prices(settings.openai_base_url, settings.model_prices, settings.model_price_provider)
    await asyncio.to_thread(prices.load)
    # With connections of its own: what is made beside answers takes none of theirs.
    beside = await process.open(Model.from_settings(settings, max_connections=settings.worker_slots, budget=budget))
    titles = _titles(process, beside, prices, people, metrics) if settings.titles else None
    windows = Windows(model, (settings.model, *settings.models), redis, settings.max_context_tokens)
    attachments = Attachments(settings, store, FileObjects(settings.files_url))
    seconds = settings.summary_seconds
    notes = NoteTaking(store, redis, Summariser(beside), seconds, prices, metrics.used)
    context = Context(settings, store, windows, notes, attachments)
    await context.warm_up()
    opening = Opening(writer, reader, message, flusher)
    requests = Requests(settings, store, prompts, catalogue, context)
    steps = TurnSteps(store, model, requests, opening, Exits(pause, ending))
    runner = TurnRunner(settings, store, ending, Attempts(opening, requests, steps, titles), metrics, prices)
    queue = await process.open_queue(keys.CHAT)
    handler = ChatHandler(store, registry, ending, runner, chat, lease=process.lease)

    process.work_on(queue, handler.handle, handler.dead_letter)
    process.beside("flusher", flusher.run)
    process.beside("person-events", people.run)
    process.beside("catalogue", catalogue.run)
    process.beside("windows", windows.run)
    process.beside("notes", notes.run)
    # Of all workers it would be away at once: they would all be evicted, and none be there when it comes back.
    process.readiness.look_at(
        "model", answers(model, settings.openai_base_url), every_seconds=_MODEL_PERIOD_SECONDS, needed=False
    )
    process.details = lambda: about_model(model)
    process.announce(keys.CHAT)


async def _prompts(process: WorkerProcess[Settings]) -> PromptSource:
    """From Langfuse where it is set up, with the file, or the default, to fall back on."""
    settings = process.settings
    fallback = settings.load_prompt()
    if settings.langfuse_prompt is None:
        return FixedPrompt(fallback)
    prompts = LangfusePrompt(settings, await process.open(client_of(settings)), fallback)
    await prompts.first()
    process.beside("prompt", prompts.run)
    return prompts


def _titles(
    process: WorkerProcess[Settings], client: Model, prices: Prices, people: PersonEvents, metrics: Metrics
) -> Titles:
    settings = process.settings
    titles = Titles(process.store, client, settings.title_model or settings.model, people, prices, metrics.used)
    process.beside("titles", titles.run)
    return titles


def main() -> None:
    run_worker("chat-worker", Settings, build)


if __name__ == "__main__":
    main()
