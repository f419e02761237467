"""What a step's calls have used, on a real store: told, estimated, of failed and stopped calls too."""

import asyncio

import pytest
from chat_worker.account import Account
from chat_worker.metrics import Metrics
from chat_worker.step.offer import Offer, Tries
from prometheus_client import CollectorRegistry
from sluiceway.errors import Fenced
from sluiceway.store.people.usage import ChargedCall
from sluiceway_llm.calling.retry import Patience
from sluiceway_llm.model_events import ModelRequest, Usage
from sluiceway_llm.prices import Price, Prices

from harness.model_server import ModelServer
from tests.chat_worker.desk import NO_TOOLS, TOOLS, Desk

PRICES = Prices("http://127.0.0.1:1/v1", {"m": Price(input=1, output=2)})


async def ask(desk: Desk, text: str, account: Account, offer: Offer = NO_TOOLS, attempts: int = 1) -> str:
    request = ModelRequest(model="m", messages=[{"role": "user", "content": text}])
    return await desk.step(account).run(desk.model, request, Tries(attempts, Patience()), offer)


async def charged(desk: Desk) -> list[ChargedCall]:
    return await desk.store.usage.of_task(desk.task.id)


@pytest.mark.requirement("CH-20")
async def test_what_the_server_tells_is_durable_with_the_answer_and_its_cost_is_in_the_message(desk: Desk) -> None:
    account = Account(PRICES)

    assert await ask(desk, "count [[tokens=5 rate=0]]", account) == "completed"

    (call,) = await charged(desk)
    task, message = await desk.stored()
    assert (call.outcome, call.step, call.estimated, call.output_tokens) == ("answered", 1, False, 5)
    assert call.cost == pytest.approx((call.input_tokens + 2 * 5) / 1e6)
    assert message.metadata is not None
    assert message.metadata["cost"] == call.cost
    assert message.metadata["usage"]["outputTokens"] == 5
    assert "cost" not in message.metadata["usage"]
    assert account.unwritten == []
    finish = (await desk.events())[-1].model_dump(by_alias=True)
    assert finish["messageMetadata"]["cost"] == call.cost
    assert task.usage is not None


@pytest.mark.requirement("CH-20")
async def test_a_call_that_ends_with_tools_is_durable_before_they_run(desk: Desk) -> None:
    assert await ask(desk, "look [[tools=weather]]", Account(), Offer(TOOLS, max_calls=8)) == "waiting"

    assert [(call.outcome, call.step) for call in await charged(desk)] == [("answered", 1)]


@pytest.mark.requirement("CH-20")
async def test_failed_tries_count_with_what_the_server_told_of_them(desk: Desk, model: ModelServer) -> None:
    told = {"prompt_tokens": 11, "completion_tokens": 3}
    await model.script({"begin": True}, {"usage": told}, {"finish": "stop"}, match="twice")

    assert await ask(desk, "twice [[tokens=2 rate=0]]", Account(), attempts=3) == "completed"

    calls = await charged(desk)
    assert [(call.outcome, call.input_tokens) for call in calls if call.outcome == "failed"] == [("failed", 11)]
    assert [call.outcome for call in calls].count("answered") == 1
    task, _ = await desk.stored()
    assert task.usage is not None
    assert task.usage["outputTokens"] == 3 + 2


@pytest.mark.requirement("CH-20")
async def test_an_answer_that_breaks_off_is_estimated_and_marked_so(desk: Desk) -> None:
    assert await ask(desk, "count [[tokens=8 cut=6 rate=0]]", Account()) == "failed"

    (call,) = await charged(desk)
    assert (call.outcome, call.estimated) == ("failed", True)
    assert call.output_tokens > 0
    task, _ = await desk.stored()
    assert task.usage is None  # of what is only guessed the message says nothing


@pytest.mark.requirement("CH-20")
async def test_what_a_fenced_attempt_has_used_is_left_in_its_account(desk: Desk, model: ModelServer) -> None:
    account = Account()
    asking = asyncio.create_task(ask(desk, "long [[tokens=9 gate_after=4:never rate=0]]", account))
    await model.wait_for(lambda seen: seen.tokens_sent >= 4)
    await desk.streams.reader.read(desk.task.id)
    claimed = await desk.store.turns.claim(desk.task.id)
    assert claimed is not None
    await desk.streams.writer.begin(claimed.fields, claimed.attempt)

    with pytest.raises(Fenced):
        await asking

    assert [(call.outcome, call.estimated) for call in account.unwritten] == [("stopped", True)]
    await desk.store.usage.charge(desk.task, account.unwritten)
    assert [call.attempt for call in await charged(desk)] == [1]


@pytest.mark.requirement("CH-20")
def test_a_call_that_never_began_costs_nothing_and_a_total_alone_counts() -> None:
    account, request = Account(), ModelRequest(model="m", messages=[])

    account.charge(request, "failed", None, 0)
    assert (account.unwritten, account.usage) == ([], None)
    account.charge(request, "answered", Usage(total_tokens=12), 5)
    assert [(call.input_tokens, call.output_tokens) for call in account.unwritten] == [(12, 0)]
    assert account.usage == {"totalTokens": 12}


@pytest.mark.requirement("OP-5")
def test_tokens_are_counted_by_what_they_were_for_as_servers_told_them() -> None:
    registry = CollectorRegistry()
    account, request = Account(counted=Metrics(registry).used), ModelRequest(model="m", messages=[])
    for purpose, count in (("answer", 3), ("notes", 5), ("title", 7)):
        account.charge(request, "answered", Usage(input_tokens=1, output_tokens=count), 9, purpose=purpose)
    account.charge(request, "failed", Usage(output_tokens=2), 0, purpose="notes")
    account.charge(request, "stopped", None, 9)

    def counted(purpose: str) -> float | None:
        labels = {"model": "m", "kind": "output", "purpose": purpose}
        return registry.get_sample_value("sluiceway_model_tokens_total", labels)

    assert [counted(purpose) for purpose in ("answer", "notes", "title")] == [3, 7, 7]
