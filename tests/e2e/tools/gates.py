"""Tools that wait at a gate until a test opens it, and what the model was asked meanwhile."""

from redis.asyncio import Redis

from harness.model_server import ModelServer
from harness.model_server.record import Record


async def open_gate(redis: Redis, name: str) -> None:
    await redis.set(f"test:{{{name}}}", "1", ex=60)


async def asked_of(model: ModelServer, match: str) -> list[Record]:
    return [record for record in await model.requests(match) if record.path.endswith("/chat/completions")]
