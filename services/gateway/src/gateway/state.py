"""What every request may use, opened before the first one and closed after the last.

Nothing here is needed to start: while Postgres or Redis is away the process serves, says in `/readyz` what is missing,
and recovers by itself when it is back.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypedDict

from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.coalesced import Coalesced
from sluiceway.feeds.person_events import PersonEvents
from sluiceway.files.keeping import FileKeeping
from sluiceway.files.objects import FileObjects
from sluiceway.files.watching import FilesWatch
from sluiceway.operation.completions import Completions
from sluiceway.process.settings import process_name
from sluiceway.queue.work_queue import Producer
from sluiceway.redis.client import open_redis
from sluiceway.service.agreement import Agreement
from sluiceway.service.connections import ConnectionMetrics
from sluiceway.service.surroundings import Surroundings
from sluiceway.store import Store
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
from sluiceway.turn.turn_metrics import TurnMetrics

from gateway.api.body import Rooms
from gateway.api.models.service import Check
from gateway.callers.addresses import Addresses
from gateway.callers.authenticator import Authenticator
from gateway.callers.limits import Limits
from gateway.callers.opening import open_callers
from gateway.callers.origins import Origins
from gateway.callers.rechecks import Rechecks
from gateway.callers.sign_in import SignIn
from gateway.callers.signed_out import SignedOut
from gateway.callers.stream_tokens import StreamTokens
from gateway.callers.user_cookie import UserCookies
from gateway.drain import Drain
from gateway.fanout.hub import Hub
from gateway.fanout.hub_registry import HubRegistry
from gateway.large_answers import LargeAnswers
from gateway.metrics import Metrics
from gateway.ops.queues import Queues
from gateway.queue_places import QueueNews
from gateway.settings import Settings
from gateway.uploads import Uploads
from gateway.webhooks.intake import WebhookIntake
from gateway.webhooks.rate import ProgressRate
from gateway.webhooks.signature import Signatures
from gateway.windows import ModelWindows

NAME = "gateway"
# Short commands only: the streams are read by the hub, on its own connection.
_REDIS_CONNECTIONS = 16
# Sent at once: they are large, and take as long as their readers do.
_MOST_EXPORTS = 8
# They may take minutes: waiting longer would not help.
_EXPORT_PATIENCE_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Gateway:
    settings: Settings
    drain: Drain
    authenticator: Authenticator
    user_cookies: UserCookies
    sign_in: SignIn | None
    store: Store
    redis: Redis
    registry: TaskRegistry
    reader: TaskReader
    intake: TurnIntake
    people: PersonEvents
    lookup: TurnLookup
    dispatch: TurnDispatch
    hub: Hub
    completions: Completions
    addresses: Addresses
    limits: Limits
    origins: Origins
    stream_tokens: StreamTokens
    signed_out: SignedOut
    rechecks: Rechecks
    webhooks: WebhookIntake
    objects: FileObjects
    files: FileKeeping
    files_watch: FilesWatch
    rooms: Rooms
    large_answers: LargeAnswers
    uploads: Uploads
    exports: LargeAnswers
    readiness: Coalesced[dict[str, Check]]
    agreement: Agreement
    metrics: Metrics
    queues: Queues
    queue_news: QueueNews
    windows: ModelWindows
    surroundings: Surroundings


class State(TypedDict):
    """Starlette's lifespan state. It is copied for each request, hence one name."""

    gateway: Gateway


@asynccontextmanager
async def open_gateway(settings: Settings, drain: Drain) -> AsyncIterator[Gateway]:
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(
            open_redis(settings.redis_url, name=NAME, max_connections=_REDIS_CONNECTIONS)
        )
        walled = settings.jwt_org_claim is not None
        store = await stack.enter_async_context(Store.from_settings(settings, application_name=NAME, walled=walled))
        hub = await stack.enter_async_context(
            Hub(
                settings.redis_url,
                heartbeat_seconds=settings.heartbeat_seconds,
                most_waiting_bytes=settings.max_stalled_bytes,
            )
        )
        registry = HubRegistry(redis, hub, settings.retention)
        reader = TaskReader(redis)
        writer = TaskWriter(redis, settings.retention)
        drain.on_break(hub.drain)
        people = PersonEvents(redis, settings.retention)
        chat = Producer(redis, keys.CHAT, settings.queue_partitions, settings.weights)
        dispatch = TurnDispatch(store, registry, chat, people)
        erasing = TurnErasing(redis, store, registry, writer, reader, settings.retention)
        ending = TurnEnding(store, registry, writer, reader, dispatch, erasing, people)
        background = TurnBackground(store, registry, OperationOutput(redis, settings.retention), dispatch, ending)
        completions = Completions(redis, partitions=settings.queue_partitions)
        objects = FileObjects(settings.files_url)
        signatures = Signatures(settings.webhook_secrets)
        rate = ProgressRate(redis, settings.max_progress_per_minute)
        metrics, queues = Metrics(), Queues(redis, store)
        metrics.watch(hub.stats, lambda: hub.backlog.bytes, lambda: queues.seen)
        ConnectionMetrics(metrics.registry, redis, store)
        ending.tell(TurnMetrics(metrics.registry).ended)
        signed_out = SignedOut(redis)
        callers = await stack.enter_async_context(open_callers(settings, store.api_keys, signed_out))
        yield Gateway(
            settings=settings,
            drain=drain,
            authenticator=callers.authenticator,
            user_cookies=callers.user_cookies,
            sign_in=callers.sign_in,
            store=store,
            redis=redis,
            registry=registry,
            reader=reader,
            intake=TurnIntake(store, registry, dispatch, ending, erasing, people, background),
            people=people,
            lookup=TurnLookup(store, registry),
            dispatch=dispatch,
            hub=hub,
            completions=completions,
            addresses=Addresses(settings.trusted_proxies),
            limits=Limits(settings, redis, store),
            origins=Origins(settings.host_policy, settings.allowed_hosts, settings.cors_origins),
            stream_tokens=StreamTokens(settings.session_keys(), settings.stream_token_seconds, signed_out),
            signed_out=signed_out,
            rechecks=Rechecks(signed_out, store.api_keys, redis),
            webhooks=WebhookIntake(store, completions, signatures, rate),
            objects=objects,
            files_watch=FilesWatch(objects),
            files=FileKeeping(store, objects, settings.file_limits),
            rooms=Rooms(settings.max_bodies_bytes),
            large_answers=_large_answers(settings),
            uploads=Uploads(settings.body_timeout_seconds),
            exports=LargeAnswers(_MOST_EXPORTS, _MOST_EXPORTS // 4, _EXPORT_PATIENCE_SECONDS),
            readiness=Coalesced(),
            agreement=Agreement(redis, f"{NAME} {process_name()}", settings),
            metrics=metrics,
            queues=queues,
            queue_news=QueueNews(redis, registry, hub.tell_waiting, settings.weights),
            windows=ModelWindows(redis),
            surroundings=Surroundings(redis, store),
        )


def _large_answers(settings: Settings) -> LargeAnswers:
    """Messages are read on one connection to Postgres: half of them stay for others."""
    most = max(1, settings.database_pool_size // 2)
    return LargeAnswers(most, max(1, most // 2))
