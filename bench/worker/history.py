"""What a turn pays for its conversation: reading it from Postgres and making it fit the model, before the model is
called.

Two sessions, of which one is a hundred times as long, with the window of a model that nobody knows (128,000 tokens).
Both are cut off where the window wants it by a turn before those that are measured: those need no cut.
"""

import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from statistics import median

from chat_worker.context.context import Context, Held
from chat_worker.context.notes import NoteTaking
from chat_worker.context.summary import Summariser
from chat_worker.context.windows import Windows
from chat_worker.settings import Settings
from redis.asyncio import Redis
from sluiceway.store import Store
from sluiceway.store.database.pool import Pool
from sluiceway.store.records import Task
from sluiceway.store.turns.accepting import NewTurn
from sluiceway_llm.calling.model import Model

from bench.worker.stage import Stage

FEW, MANY = 200, 20_000
_CHARS = 600
_TIMES = 20
_SYSTEM = [{"role": "system", "content": "Be brief."}]
_FILL = (
    "INSERT INTO messages (session_id, id, sequence, role, parts, done)"
    " SELECT $1, 'old-' || n, n, CASE WHEN n % 2 = 1 THEN 'user' ELSE 'assistant' END, jsonb_build_array("
    "  jsonb_build_object('type', 'text', 'text', repeat('the river had risen ' || n || ' ', $3 / 24))), true"
    " FROM generate_series($2::integer, $2 + $4 - 1) n"
)
# Of one statement: on a busy machine more of them would take longer than a statement may.
_AT_ONCE = 2_000


@dataclass(frozen=True)
class Preparing:
    """In milliseconds, at the median; and how many messages were sent."""

    load_ms: float
    prepare_ms: float
    sent: int

    @property
    def whole_ms(self) -> float:
        return self.load_ms + self.prepare_ms


async def measure(stage: Stage, messages: int, model_name: str) -> Preparing:
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(
            Store.open(stage.database_url, max_size=2, application_name="bench-history")
        )
        model = await stack.enter_async_context(Model(f"{stage.model_url}/v1", "none"))
        redis = await stack.enter_async_context(Redis.from_url(stage.valkey.url))
        settings = Settings(model=model_name, compaction="truncate", database_url=stage.database_url)
        windows = Windows(model, (settings.model,), redis)
        context = Context(settings, store, windows, NoteTaking(store, redis, Summariser(model), 1))
        await context.warm_up()
        task = await _task_behind(store, stage.database_url, messages)
        await _prepared(context, task)
        return await _measured(context, task)


async def _measured(context: Context, task: Task) -> Preparing:
    loads, prepares, sent = [], [], 0
    for _ in range(_TIMES):
        began = time.perf_counter()
        conversation = await context.load(task)
        loaded = time.perf_counter()
        prepared = await context.prepare(task, Held(conversation), task.model or "", _SYSTEM, [], [], _uninterrupted)
        prepares.append((time.perf_counter() - loaded) * 1000)
        loads.append((loaded - began) * 1000)
        sent = len(prepared.messages) if prepared is not None else 0
    return Preparing(median(loads), median(prepares), sent)


async def _prepared(context: Context, task: Task) -> None:
    conversation = await context.load(task)
    await context.prepare(task, Held(conversation), task.model or "", _SYSTEM, [], [], _uninterrupted)


async def _uninterrupted(compacting: Coroutine[None, None, bool]) -> bool | None:
    return await compacting


async def _task_behind(store: Store, database_url: str, messages: int) -> Task:
    """A turn that runs in a session that has so many messages before it."""
    session_id = f"bench-{messages}-{time.monotonic_ns()}"
    await store.sessions.create(session_id, None, None)
    pool = Pool(database_url, max_size=1, application_name="bench-fill")
    async with pool.connection() as connection:
        for first in range(1, messages + 1, _AT_ONCE):
            await connection.execute(_FILL, session_id, first, _CHARS, min(_AT_ONCE, messages + 1 - first))
        await connection.execute("UPDATE sessions SET next_sequence = $2 WHERE id = $1", session_id, messages + 1)
        await connection.execute("ANALYZE messages")
    await pool.close()
    turn = NewTurn(session_id=session_id, user_id=None, text="and now?", model="fake-model")
    task = await store.turns.claim((await store.turns.accept(turn)).task.id)
    assert task is not None
    return task
