"""How long people wait for a worker, alone and behind the flood of one user, or of one organisation's people.

A turn's wait is what Postgres says of it: from its acceptance to its first claim. The others come at once, when the
flood is queued and its first turns run.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import uuid4

import asyncpg

from bench.worker.stage import Stage
from harness.clients.chat import Chat
from harness.waiting import wait_until
from tests.gateway.callers import SECRET, bearer

FLOOD, OTHERS, SLOTS = 500, 20, 4
PEOPLE = 50
# Half a second a turn.
_MESSAGE = "[[tokens=25 rate=50]]"
_POSTING_AT_ONCE = 16
_MOST_SECONDS = 180
# Owners are `org:ORG:USER` where they are of an organisation.
_NAMED = "FROM tasks WHERE user_id LIKE '%' || $1 || '%'"
_WAITS = f"SELECT extract(epoch FROM started_at - created_at)::float AS wait {_NAMED}"
_LEFT = f"SELECT count(*) {_NAMED} AND ended_at IS NULL"
_SPAN = f"SELECT extract(epoch FROM max(ended_at) - min(created_at))::float {_NAMED}"
# A user, and his organisation.
Person = tuple[str, str | None]


@dataclass(frozen=True)
class Waits:
    """In seconds: of the others without the flood, and with it; and how long the flood took."""

    alone_p95: float
    flooded_p95: float
    flood_seconds: float


async def user(stage: Stage, runs: int) -> list[Waits]:
    """Users of no organisation, behind one of them."""
    return await _measure(stage, runs, lambda run: [(f"flood-{run}", None)] * FLOOD, lambda name: (name, None))


async def organisation(stage: Stage, runs: int) -> list[Waits]:
    """People each of an organisation of his own, behind the many of one."""

    def flood(run: str) -> list[Person]:
        return [(f"flood-{run}-{number % PEOPLE}", f"crowd-{run}") for number in range(FLOOD)]

    return await _measure(stage, runs, flood, lambda name: (name, f"of {name}"))


async def _measure(
    stage: Stage, runs: int, flood: Callable[[str], list[Person]], other: Callable[[str], Person]
) -> list[Waits]:
    await stage.chat_worker(SLOTS)
    limits = ("MAX_TURNS_PER_USER", "MAX_TURNS_PER_ORG", "MAX_SESSIONS_PER_HOUR", "MAX_REQUESTS_PER_MINUTE")
    url = await stage.gateway(JWT_SECRET=SECRET, JWT_ORG_CLAIM="org", **dict.fromkeys(limits, "0"))
    rows = await asyncpg.connect(stage.database_url)
    try:
        return [await _run(url, rows, flood, other) for _ in range(runs)]
    finally:
        await rows.close()
        stage.stop_services()


async def _run(
    url: str, rows: asyncpg.Connection, flood: Callable[[str], list[Person]], other: Callable[[str], Person]
) -> Waits:
    run = uuid4().hex
    alone = await _others(url, rows, f"alone-{run}-", other)
    await _post(url, flood(run))
    flooded = await _others(url, rows, f"flooded-{run}-", other)
    await _ended(rows, f"flood-{run}")
    return Waits(alone, flooded, float(await rows.fetchval(_SPAN, f"flood-{run}")))


async def _others(url: str, rows: asyncpg.Connection, name: str, other: Callable[[str], Person]) -> float:
    await _post(url, [other(f"{name}{number}") for number in range(OTHERS)])
    await _ended(rows, name)
    waits = sorted(float(row["wait"]) for row in await rows.fetch(_WAITS, name))
    assert len(waits) == OTHERS
    return waits[int(0.95 * (OTHERS - 1))]


async def _post(url: str, people: Sequence[Person]) -> None:
    """A turn for each, in a session of its own."""
    limit = asyncio.Semaphore(_POSTING_AT_ONCE)

    async def one(user: str, org: str | None) -> None:
        async with limit, Chat(url, bearer(user, org=org)) as chat:
            await chat.send(await chat.open_session(), _MESSAGE)

    await asyncio.gather(*(one(*person) for person in people))


async def _ended(rows: asyncpg.Connection, users: str) -> None:
    async def ended() -> bool:
        return bool(await rows.fetchval(_LEFT, users) == 0)

    await wait_until(ended, _MOST_SECONDS, f"the turns of {users} have ended")
