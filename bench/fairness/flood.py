"""How long people wait for a worker, alone and behind the flood of one user.

A turn's wait is what Postgres says of it: from its acceptance to its first claim. The others come at once, when the
flood is queued and its first turns run.
"""

import asyncio
from dataclasses import dataclass
from uuid import uuid4

import asyncpg

from bench.worker.stage import Stage
from harness.clients.chat import Chat
from harness.waiting import wait_until
from tests.gateway.callers import SECRET, bearer

FLOOD, OTHERS, SLOTS = 500, 20, 4
# Half a second a turn.
_MESSAGE = "[[tokens=25 rate=50]]"
_POSTING_AT_ONCE = 16
_MOST_SECONDS = 180
_WAITS = "SELECT extract(epoch FROM started_at - created_at)::float AS wait FROM tasks WHERE user_id LIKE $1 || '%'"
_LEFT = "SELECT count(*) FROM tasks WHERE user_id LIKE $1 || '%' AND ended_at IS NULL"
_SPAN = "SELECT extract(epoch FROM max(ended_at) - min(created_at))::float FROM tasks WHERE user_id LIKE $1 || '%'"


@dataclass(frozen=True)
class Waits:
    """In seconds: of the others without the flood, and with it; and how long the flood took."""

    alone_p95: float
    flooded_p95: float
    flood_seconds: float


async def measure(stage: Stage, runs: int) -> list[Waits]:
    await stage.chat_worker(SLOTS)
    url = await stage.gateway(
        JWT_SECRET=SECRET, MAX_TURNS_PER_USER="0", MAX_SESSIONS_PER_HOUR="0", MAX_REQUESTS_PER_MINUTE="0"
    )
    rows = await asyncpg.connect(stage.database_url)
    try:
        return [await _run(url, rows) for _ in range(runs)]
    finally:
        await rows.close()
        stage.stop_services()


async def _run(url: str, rows: asyncpg.Connection) -> Waits:
    run = uuid4().hex
    alone = await _others(url, rows, f"alone-{run}-")
    flood = f"flood-{run}"
    await _post(url, [flood] * FLOOD)
    flooded = await _others(url, rows, f"flooded-{run}-")
    await _ended(rows, flood)
    return Waits(alone, flooded, float(await rows.fetchval(_SPAN, flood)))


async def _others(url: str, rows: asyncpg.Connection, name: str) -> float:
    await _post(url, [f"{name}{number}" for number in range(OTHERS)])
    await _ended(rows, name)
    waits = sorted(float(row["wait"]) for row in await rows.fetch(_WAITS, name))
    assert len(waits) == OTHERS
    return waits[int(0.95 * (OTHERS - 1))]


async def _post(url: str, users: list[str]) -> None:
    """A turn for each, in a session of its own."""
    limit = asyncio.Semaphore(_POSTING_AT_ONCE)

    async def one(user: str) -> None:
        async with limit, Chat(url, bearer(user)) as chat:
            await chat.send(await chat.open_session(), _MESSAGE)

    await asyncio.gather(*(one(user) for user in users))


async def _ended(rows: asyncpg.Connection, users: str) -> None:
    async def ended() -> bool:
        return bool(await rows.fetchval(_LEFT, users) == 0)

    await wait_until(ended, _MOST_SECONDS, f"the turns of {users} have ended")
