"""What every request may use, opened before the first one and closed after the last.

Nothing here is needed to start: while Postgres or Redis is away the process serves, says in `/readyz` what is missing,
and goes on by itself when it is back.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypedDict

from redis.asyncio import Redis
from sluiceway.operation.completions import Completions
from sluiceway.operation.publishing import Operations
from sluiceway.queue.work_queue import Producer
from sluiceway.redis_client import open_redis
from sluiceway.store import Store
from sluiceway.stream.task_streams import TaskStreams
from sluiceway.turn.turns import Turns

from gateway.api.body import Rooms
from gateway.api.models import Check
from gateway.callers.api_keys import ApiKeys
from gateway.callers.authenticator import Authenticator
from gateway.coalesced import Coalesced
from gateway.drain import Drain
from gateway.fanout.hub import Hub
from gateway.fanout.hub_streams import HubStreams
from gateway.settings import Settings
from gateway.webhooks.intake import WebhookIntake
from gateway.webhooks.rate import ProgressRate
from gateway.webhooks.signature import Signatures

NAME = "gateway"
# Short commands only: the streams are read by the hub, on its own connection.
_REDIS_CONNECTIONS = 16
# For how long an answer about the whole system's readiness is good for others.
_READINESS_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Gateway:
    settings: Settings
    drain: Drain
    authenticator: Authenticator
    store: Store
    redis: Redis
    streams: TaskStreams
    turns: Turns
    hub: Hub
    completions: Completions
    api_keys: ApiKeys
    webhooks: WebhookIntake
    rooms: Rooms
    readiness: Coalesced[dict[str, Check]]


class State(TypedDict):
    """Starlette's lifespan state. It is copied for each request, hence one name."""

    gateway: Gateway


@asynccontextmanager
async def open_gateway(settings: Settings, drain: Drain) -> AsyncIterator[Gateway]:
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(
            open_redis(settings.redis_url, name=NAME, max_connections=_REDIS_CONNECTIONS)
        )
        store = await stack.enter_async_context(Store.from_settings(settings, application_name=NAME))
        hub = await stack.enter_async_context(
            Hub(
                settings.redis_url,
                heartbeat_seconds=settings.heartbeat_seconds,
                most_waiting_bytes=settings.max_stalled_bytes,
            )
        )
        streams = HubStreams(
            redis,
            hub,
            live_ttl=timedelta(seconds=settings.live_ttl_seconds),
            retention=timedelta(seconds=settings.retention_seconds),
        )
        drain.on_break(hub.drain)
        turns = Turns(store, streams, Producer(redis, "chat"), Operations(redis, streams))
        completions = Completions(redis)
        signatures = Signatures(settings.webhook_secrets)
        rate = ProgressRate(redis, settings.max_progress_per_minute)
        yield Gateway(
            settings=settings,
            drain=drain,
            authenticator=Authenticator.from_settings(settings),
            store=store,
            redis=redis,
            streams=streams,
            turns=turns,
            hub=hub,
            completions=completions,
            api_keys=ApiKeys(key.get_secret_value() for key in settings.api_keys),
            webhooks=WebhookIntake(store, completions, signatures, rate),
            rooms=Rooms(settings.max_bodies_bytes),
            readiness=Coalesced(_READINESS_SECONDS),
        )
