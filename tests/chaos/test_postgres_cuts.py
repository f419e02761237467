"""The connection to Postgres is cut at a commit: before the server has it, and after, so that the answer is lost.

For each transaction of the store, with the real services: the turn is answered once, with the right text; callers get
the truth, or a 503 after which the same request gets it; nothing is left behind, and the session goes on.
"""

from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from harness.clients.calling import TOOLS_DIR, offered
from harness.clients.chat import Chat
from harness.databases.postgres import Postgres
from harness.databases.valkey import Valkey
from harness.model_server import ModelServer
from harness.processes.loop_thread import LoopThread
from harness.processes.model_process import ModelProcess
from harness.processes.services import Services
from harness.proxies.postgres_proxy import PostgresProxy
from harness.proxies.proxy import Fate
from harness.waiting import wait_until
from tests.chaos.cuts import approvals, operations, sessions, turns, webhooks
from tests.chaos.cuts.case import Case
from tests.chaos.cuts.stage import SETTINGS, CutStage, Running
from tests.conftest import attach_logs, settings_for

CASES = [*turns.CASES, *operations.CASES, *approvals.CASES, *webhooks.CASES, *sessions.CASES]


@pytest.fixture(scope="module")
def proxy(_postgres_server: Postgres) -> Iterator[PostgresProxy]:
    _postgres_server.start()
    proxy = PostgresProxy(_postgres_server.port)
    with LoopThread() as thread:
        thread.run(proxy.start())
        yield proxy
        thread.run(proxy.stop())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(
    proxy: PostgresProxy,
    _postgres_server: Postgres,
    _valkey_server: Valkey,
    _model_process: ModelProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Running]:
    _valkey_server.start()
    _valkey_server.flush()
    name = _postgres_server.create_database(migrated=True)
    url = _postgres_server.url(name)
    through = url.replace(f":{_postgres_server.port}/", f":{proxy.port}/")
    environment = settings_for(_valkey_server.url, through, _model_process) | SETTINGS
    services = Services(tmp_path_factory.mktemp("cuts"), environment)
    try:
        system = await services.whole(tool_runners=1, TOOLS_DIR=str(TOOLS_DIR))
        await offered(system.url, "careful")
        yield Running(services, system, proxy, _valkey_server.url, url)
    finally:
        complaints = services.stop()
        _postgres_server.drop_database(name)
    assert not complaints, "\n".join(complaints)


@pytest.fixture
async def stage(request: pytest.FixtureRequest, running: Running, model: ModelServer) -> AsyncIterator[CutStage]:
    attach_logs(request.node, running.services)
    database = await asyncpg.connect(running.database_url)
    async with Chat(running.system.url) as chat, Redis.from_url(running.redis_url) as redis:
        yield CutStage(running, chat, model, redis, database)
    running.proxy.forget_cuts()
    await database.close()
    assert not running.services.complaints()


@pytest.mark.requirement("OP-7", "CH-11", "CC-6", "WH-3")
@pytest.mark.parametrize("fate", ["cut_before", "cut_after"])
@pytest.mark.parametrize("one", CASES, ids=lambda one: one.name)
async def test_nothing_is_lost_or_doubled_when_a_commit_is_cut(stage: CutStage, one: Case, fate: Fate) -> None:
    cuts = []
    await one.play(stage, lambda: cuts.append(stage.running.proxy.cut(one.statement, fate)))
    (cut,) = cuts
    await wait_until(lambda: cut.done, 5, repr(cut))
    assert one.refused in (None, stage.refused > 0)
