"""Connections to Redis that are reset at the worst moment, and a Redis that is there and refuses: each character of an
answer is shown once all the same, and nothing is left broken behind."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from sluiceway.scripts import digest

from harness.clients.chat import Chat
from harness.clients.folding import fold
from harness.clients.sse import Event
from harness.clients.viewer import Viewer
from harness.databases.database import Database, stored_answer
from harness.databases.valkey import Valkey
from harness.model_server import ModelServer, answer_to
from harness.processes.services import Service, Services
from harness.proxies.proxy import Fate, Proxy
from harness.waiting import wait_until

GATED = "what comes next? [[tokens=20 rate=0 gate_after=8:g]]"


@pytest.fixture
async def proxy(services: Services, valkey: Valkey) -> AsyncIterator[Proxy]:
    async with Proxy(valkey.port) as proxy:
        yield proxy


def url(proxy: Proxy) -> str:
    return f"redis://127.0.0.1:{proxy.port}/0"


class Scissors:
    """Cuts the connection at every fourth flush or so, before it has reached Redis or after, and nothing else."""

    def __init__(self, seed: int) -> None:
        self.cuts: dict[Fate, int] = {"cut_before": 0, "cut_after": 0}
        self._random = random.Random(seed)
        self._flush = digest("stream/append").encode()

    def __call__(self, data: bytes) -> Fate:
        if self._flush not in data or self._random.random() > 0.25:
            return "pass"
        fate: Fate = self._random.choice(("cut_before", "cut_after"))
        self.cuts[fate] += 1
        return fate


def follow_on_one_another(events: list[Event]) -> bool:
    """All of one attempt, without a gap and without a repeat."""
    ids = [event.id for event in events if event.id is not None]
    return ids == [f"1-{place}" for place in range(len(ids))]


@pytest.mark.requirement("TS-11", "TS-3", "OP-7")
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_every_character_is_shown_once_however_often_a_flush_is_cut(
    services: Services, proxy: Proxy, model: ModelServer, database: Database, seed: int
) -> None:
    """`cut_after`: Redis has the batch, and the worker never hears of it."""
    cutting = Scissors(seed)
    system = await services.whole(workers=0)
    await services.chat_worker(REDIS_URL=url(proxy))
    await wait_until(lambda: system.gateway.answers("/readyz"), what="the gateway sees the worker")
    questions = [f"cut number {number} [[tokens=120 rate=80]]" for number in range(4)]
    async with Chat(system.url) as chat:
        proxy.on_client_bytes = cutting
        turns = [await chat.ask(question) for question in questions]
        seen = await asyncio.gather(*(chat.answer(turn) for turn in turns))
        proxy.on_client_bytes = None
        for question, turn, events in zip(questions, turns, seen, strict=True):
            assert fold(events).text == answer_to(question, 120)
            assert follow_on_one_another(events)
            assert await stored_answer(database, turn.message_id) == answer_to(question, 120)
    assert min(cutting.cuts.values()) >= 5, cutting.cuts


@pytest.mark.requirement("OP-7", "TS-3", "TS-9")
async def test_resets_of_all_connections_of_all_services_cost_nobody_a_character_and_leave_none_behind(
    services: Services, proxy: Proxy, valkey: Valkey, model: ModelServer
) -> None:
    system = await services.whole(gateways=2, workers=2, REDIS_URL=url(proxy))
    calm = _clients(valkey)
    questions = [f"reset number {number} [[tokens=150 rate=40]]" for number in range(6)]
    async with Chat(system.url) as chat:
        turns = [await chat.ask(question) for question in questions]
        urls = [gateway.url for gateway in system.gateways]
        watching = [asyncio.create_task(_watch([one + turn.stream_path for one in urls])) for turn in turns]
        resets = await _reset_again_and_again(proxy, watching)
        for question, watched in zip(questions, watching, strict=True):
            assert watched.result() == answer_to(question, 150)
        assert resets >= 5
        await wait_until(lambda: _clients(valkey) <= calm + 8, what="no connection is left over")
        assert proxy.connections <= calm + 8
        after = await chat.ask("and after it [[tokens=3 rate=0]]")
        assert fold(await chat.answer(after)).text == answer_to("and after it", 3)


async def _watch(urls: list[str]) -> str:
    async with Viewer(*urls) as viewer:
        return (await viewer.end()).text


async def _reset_again_and_again(proxy: Proxy, watching: list["asyncio.Task[str]"]) -> int:
    resets = 0
    while True:
        _, pending = await asyncio.wait(watching, timeout=0.7)
        if not pending:
            return resets
        proxy.reset_all()
        resets += 1


def _clients(valkey: Valkey) -> int:
    """How many clients Redis has, the one that asks included."""
    return len(valkey.ask("CLIENT", "LIST").splitlines())


@pytest.mark.requirement("OP-7")
async def test_a_turn_continues_when_a_redis_that_was_full_has_room_again(
    services: Services, valkey: Valkey, model: ModelServer, database: Database
) -> None:
    system = await services.whole()
    async with Chat(system.url) as chat:
        turn = await chat.ask(GATED)
        async with Viewer(chat.stream_url(turn)) as viewer:
            await viewer.shows(answer_to(GATED, 8))
            valkey.ask("CONFIG", "SET", "maxmemory", "1mb")
            try:
                await model.open_gate("g")
                await wait_until(lambda: _says_full(system.worker), what="the worker says that Redis is full")
                accepted = await chat.send(turn.session_id, "accepted meanwhile [[tokens=3 rate=0]]")
            finally:
                valkey.ask("CONFIG", "SET", "maxmemory", "0")
            assert (await viewer.end()).text == answer_to(GATED, 20)
            assert viewer.restarts == 0
        assert await stored_answer(database, turn.message_id) == answer_to(GATED, 20)
        assert fold(await chat.answer(accepted)).text == answer_to("accepted meanwhile", 3)


def _says_full(worker: Service) -> bool:
    return any("OutOfMemory" in line.get("reason", "") for line in worker.log_lines if line["event"] == "flush_delayed")


@pytest.mark.requirement("OP-7")
async def test_a_turn_continues_after_redis_was_paused_for_longer_than_anybody_waits_for_an_answer(
    services: Services, valkey: Valkey, model: ModelServer, database: Database
) -> None:
    """What was sent before the pause is carried out after it, though nobody hears the answers any more."""
    system = await services.whole()
    async with Chat(system.url) as chat:
        turn = await chat.ask(GATED)
        async with Viewer(chat.stream_url(turn)) as viewer:
            await viewer.shows(answer_to(GATED, 8))
            valkey.ask("CLIENT", "PAUSE", "7000", "ALL")
            await model.open_gate("g")
            assert (await viewer.end()).text == answer_to(GATED, 20)
            assert viewer.restarts == 0
        assert await stored_answer(database, turn.message_id) == answer_to(GATED, 20)
