"""Each alert fires on a real system under its fault, by a real Prometheus that scrapes the services; and each panel of
the dashboard shows something.

What promtool cannot see (tests/deploy/test_runbook.py) is seen here: that the services tell these series, from zero on,
when it matters. The rules are those of deploy/observability, with shorter times and lower bars.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import httpx
import pytest
from redis.asyncio import Redis
from sluiceway import keys

from harness.clients.calling import call, calls_tools
from harness.clients.chat import Chat, Turn
from harness.databases.backup import Backup
from harness.databases.valkey import Valkey
from harness.metrics import metric, metrics_of
from harness.model_server import ModelServer
from harness.processes.prometheus import PROGRAM, Prometheus
from harness.processes.services import Service, Services, System
from harness.waiting import wait_until

_FOLDER = Path(__file__).parents[3] / "deploy" / "observability"
_WINDOW = "8s"
# Seconds after which it is too long, which a test does not wait for.
_BARS = {
    "TurnsWaitForWorkers": ("> 30", "> 1"),
    "OperationsWaitForRunners": ("> 120", "> 1"),
    "CompletionsWait": ("> 30", "> 1"),
    "ModelSlow": ("> 20", "> 1"),
}
# Says that this machine is busy, which it may be.
_OF_LOAD = {"EventLoopBlocked", "WaitingForPostgres"}
_SLOW = "[[stall=1.5 tokens=2]]"
_RUNS = "sluiceway_operation_run_seconds_count"
_BUSY = "sluiceway_worker_in_flight"
_LONG = "[[tokens=2000 rate=5]]"
_QUICK = {
    "DATABASE_TIMEOUT_SECONDS": "1",
    "DATABASE_POOL_SIZE": "2",
    "RECONCILE_SECONDS": "0.5",
    "OPERATION_CLAIM_SECONDS": "4",
}

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="NO PROMETHEUS HERE to fire the alerts (Debian: prometheus)")


def _quick_rules() -> str:
    text = (_FOLDER / "alerts.yaml").read_text()
    text = re.sub(r"\[\d+m\]", f"[{_WINDOW}]", text)
    text = re.sub(r"offset \d+m", f"offset {_WINDOW}", text)
    text = re.sub(r"for: \d+m", "for: 1s", text)
    for alert, (bar, lower) in _BARS.items():
        head, name, tail = text.partition(f"alert: {alert}\n")
        assert bar in tail.partition("for:")[0], alert
        text = head + name + tail.replace(bar, lower, 1)
    return text


def _alerts() -> set[str]:
    return set(re.findall(r"alert: (\w+)", (_FOLDER / "alerts.yaml").read_text()))


@pytest.fixture
async def system(services: Services) -> System:
    services.environment |= _QUICK
    return await services.whole(workers=2, tool_runners=1)


@pytest.fixture
async def prometheus(tmp_path: Path, services: Services, system: System) -> AsyncIterator[Prometheus]:
    rules = tmp_path / "rules.yaml"
    rules.write_text(_quick_rules())
    watcher = Prometheus(tmp_path, services.all, rules)
    watcher.start()
    yield watcher
    watcher.stop()


@pytest.mark.requirement("OP-5")
async def test_each_alert_fires_under_its_fault_none_in_health_and_no_panel_is_empty(
    services: Services, system: System, prometheus: Prometheus, model: ModelServer, valkey: Valkey, database_url: str
) -> None:
    services.expect_in_logs("repair_failed|store_went_back|Traceback")
    faults = Faults(services, system, model, database_url, valkey)

    await wait_until(lambda: _has(prometheus, "sum(sluiceway_reconciler_leader) == 1"), what="somebody leads")
    await wait_until(faults.no_fault, what="a tool is run")
    await wait_until(lambda: _quiet(prometheus), what="no alert fires in health")

    await faults.of_entries()
    await faults.of_model()
    await faults.of_loop()
    await _fire(prometheus, {"RepairsFail", "DeadLetters", "TurnsFail", "ModelAway", "ModelSlow", "EventLoopBlocked"})
    await faults.of_postgres()
    await _fire(prometheus, {"WaitingForPostgres", "GatewayRefuses"})
    await faults.no_fault()
    await wait_until(lambda: _no_panel_is_empty(prometheus), what="each query of the dashboard has an answer")

    await faults.restored()
    await faults.a_worker_dies()
    await faults.no_runner()
    await _fire(prometheus, {"StoreWentBack", "WorkersDie", "NoToolRunner", "OperationsWaitForRunners"})
    await faults.nobody_works()
    nobody = {"NoChatWorker", "NoReconciler", "TurnsWaitForWorkers", "CompletionsWait"}
    await _fire(prometheus, nobody)
    await faults.redis_goes()
    await _fire(prometheus, _alerts())


async def _has(prometheus: Prometheus, expression: str) -> bool:
    return bool(await prometheus.query(expression))


async def _quiet(prometheus: Prometheus) -> bool:
    """From here on it is counted what fires."""
    prometheus.forget()
    firing = await prometheus.query('ALERTS{alertstate="firing"}')
    return {one["metric"]["alertname"] for one in firing} <= _OF_LOAD


async def _fire(prometheus: Prometheus, alerts: set[str]) -> None:
    async def all_have() -> bool:
        return alerts <= await prometheus.fired()

    try:
        await wait_until(all_have, 30)
    except AssertionError:
        raise AssertionError(f"have not fired: {alerts - await prometheus.fired()}") from None


async def _no_panel_is_empty(prometheus: Prometheus) -> bool:
    for panel in json.loads((_FOLDER / "dashboard.json").read_text())["panels"]:
        for target in panel["targets"]:
            if not await prometheus.query(target["expr"].replace("$__rate_interval", "5m")):
                print("empty:", panel["title"], target["expr"])
                return False
    return True


class Faults:
    """What is planted in one system."""

    def __init__(
        self, services: Services, system: System, model: ModelServer, database_url: str, valkey: Valkey
    ) -> None:
        self._services = services
        self._system = system
        self._model = model
        self._database_url = database_url
        self._valkey = valkey

    async def no_fault(self) -> float:
        """A turn with a tool, which one of the workers may not know yet; how many were run."""
        await calls_tools(self._model, "the time", call("current_time", "call_1"))
        async with Chat(self._system.url) as chat:
            await chat.answer(await chat.ask("the time"))
        return (await metrics_of(self._system.tool_runners[0])).get((_RUNS, "current_time"), 0)

    async def of_model(self) -> None:
        """It refuses, is away, and is slow."""
        async with Chat(self._system.url) as chat:
            for number in range(3):
                faults = ("[[status=401]]", "[[status=503 times=2]]", _SLOW)
                turns = [await chat.ask(f"{number} {fault}") for fault in faults]
                for turn in turns:
                    await chat.answer(turn)

    async def of_postgres(self) -> None:
        """A table is locked for seconds, under requests."""
        holder = await asyncpg.connect(self._database_url)
        try:
            async with holder.transaction(), Chat(self._system.url) as chat:
                await holder.execute("LOCK TABLE sessions")
                for _ in range(3):
                    await asyncio.gather(*(chat.post("/api/chat/sessions", {}) for _ in range(8)))
        finally:
            await holder.close()

    async def of_entries(self) -> None:
        """One that cannot be read in a queue, and a turn whose record in Redis is broken."""
        async with Redis.from_url(self._valkey.url) as redis, Chat(self._system.url) as chat:
            await redis.xadd(keys.work_queue(keys.CHAT), {"d": b"nonsense"})
            turn = await chat.ask(_LONG)
            await redis.set(keys.task_meta(turn.task_id), "nonsense", ex=600)

    async def of_loop(self) -> None:
        """A process stands still for a second."""
        self._system.worker.freeze()
        await asyncio.sleep(1)
        self._system.worker.thaw()

    async def restored(self) -> None:
        """Postgres goes back behind a turn."""
        backup = await Backup.take(self._database_url)
        async with Chat(self._system.url) as chat:
            await chat.ask(_LONG)
        before = await self._rounds()
        await wait_until(lambda: self._rounds_since(before), what="the reconciler has looked after the backup")
        await backup.restore(self._database_url)

    async def _rounds(self) -> float:
        return await metric(self._system.consumer, "sluiceway_reconciler_rounds_total", "complete")

    async def _rounds_since(self, before: float) -> bool:
        return await self._rounds() >= before + 2

    async def a_worker_dies(self) -> None:
        async with Chat(self._system.url) as chat:
            await asyncio.gather(*(chat.ask(f"{number} {_LONG}") for number in range(24)))
        await wait_until(self._most_are_with_one, what="a worker has more than ten turns")
        (await self._busiest()).kill9()

    async def _most_are_with_one(self) -> bool:
        return await metric(await self._busiest(), _BUSY, keys.CHAT) > 10

    async def _busiest(self) -> Service:
        first, second = self._system.workers
        return first if await metric(first, _BUSY, keys.CHAT) >= await metric(second, _BUSY, keys.CHAT) else second

    async def no_runner(self) -> None:
        """For a call, which fails."""
        self._system.tool_runners[0].kill9()
        async with Chat(self._system.url) as chat:
            await self._calls_a_tool(chat, "first")

    async def nobody_works(self) -> None:
        """A result finds no consumer, a turn no worker."""
        await self._system.tool_runners[0].start()
        async with Chat(self._system.url) as chat:
            await wait_until(self.no_fault, 30, "the tool is offered again")
            self._system.consumer.kill9()
            await self._calls_a_tool(chat, "second")
            for worker in self._system.workers:
                worker.kill9()
            await chat.ask("and this?")

    async def _calls_a_tool(self, chat: Chat, name: str) -> None:
        await calls_tools(self._model, f"tool {name}", call("current_time", f"call_{name}"))
        turn = await chat.ask(f"tool {name}")
        await wait_until(lambda: self._waits(chat, turn), what="the turn waits for its tool")

    async def _waits(self, chat: Chat, turn: Turn) -> bool:
        return await chat.status(turn.task_id) == "waiting"

    async def redis_goes(self) -> None:
        """Under open streams."""
        async with Chat(self._system.url) as chat:
            turn = await chat.ask("who is there?")
        async with httpx.AsyncClient(base_url=self._system.url, trust_env=False) as http, AsyncExitStack() as stack:
            for _ in range(8):
                followed = await stack.enter_async_context(http.stream("GET", turn.stream_path))
                assert followed.status_code == 200
            self._valkey.stop()
            await wait_until(self._broken, what="the gateway has broken them")

    async def _broken(self) -> bool:
        return await metric(self._system.gateway, "sluiceway_streams_broken_total") >= 8
