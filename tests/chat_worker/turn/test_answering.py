"""What a new attempt can continue, by what its predecessors left and by what the model server can do."""

from datetime import UTC, datetime

import pytest
from chat_worker.account import Account
from chat_worker.attempt import Attempt
from chat_worker.context.context import Held
from chat_worker.flusher import Flusher
from chat_worker.metrics import Metrics
from chat_worker.step.note import Note
from chat_worker.turn.answering import Answering
from chat_worker.turn.takeover import Takeover
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from sluiceway.scripts import Scripts
from sluiceway.store.records import Message, Task
from sluiceway.store.sessions.conversations import Conversation
from sluiceway.stream.writer import Begun
from sluiceway.turn.shown import Durable
from sluiceway.wire.events import Event, FinishStep, Start, StartStep, TextDelta, TextStart
from sluiceway.wire.message import MessageFold
from sluiceway_llm.asking.continuation import PrefixDialect
from sluiceway_llm.calling.background import BackgroundModel
from sluiceway_llm.calling.model import Model
from sluiceway_llm.calling.retry import Patience
from sluiceway_llm.model_events import Reached

NOW = datetime.now(UTC)
STEP = {"type": "step-start"}
ADDRESS = "http://127.0.0.1:9/v1"


def task() -> Task:
    return Task(
        id="task_1",
        session_id="s",
        user_id=None,
        user_message_id="u",
        message_id="m",
        sequence=1,
        status="running",
        attempt=2,
        model=None,
        error=None,
        usage=None,
        traceparent=None,
        created_at=NOW,
        started_at=NOW,
        cancel_requested_at=None,
        ended_at=None,
        settled_at=None,
        open_operations=0,
        parts_before=0,
    )


class Desk:
    def __init__(self, redis: Redis) -> None:
        self._flusher = Flusher(Scripts(redis), live_ttl_ms=60_000)

    def turn(self, text: str = "hello", reached: str = "", durable: Durable | None = None) -> Answering:
        question = Message("u", "user", [{"type": "text", "text": text}], 1, None, NOW)
        begun = Begun(cancelled=False, last_id=None, retracted="", reached=reached)
        writer = self._flusher.open("task_1", 2)
        meter = Metrics(CollectorRegistry()).claimed(task())
        attempt = Attempt(task(), writer, meter, Account())
        return Answering(attempt, Held(Conversation([question])), begun, durable or Durable(), Patience())


@pytest.fixture
async def desk(redis: Redis) -> Desk:
    return Desk(redis)


def folded(*events: Event) -> MessageFold:
    fold = MessageFold()
    for event in events:
        fold.add(event)
    return fold


HALF = (Start(message_id="m"), StartStep(), TextStart(id="0"), TextDelta(id="0", delta="Once upon"))


@pytest.mark.requirement("CH-13")
@pytest.mark.parametrize(("dialect", "able"), [("vllm", "text"), (None, "nothing")])
async def test_a_text_is_continued_where_the_server_takes_its_beginning(
    desk: Desk, dialect: PrefixDialect | None, able: str
) -> None:
    async with Model(ADDRESS, "key", continuation=dialect) as model:
        assert desk.turn().able(model) == able
        assert desk.turn("/weather Köln").able(model) == "nothing", "what we said to a command is not the model's"


@pytest.mark.requirement("CH-13")
async def test_an_answer_that_the_server_keeps_is_continued_if_it_is_the_next_steps(desk: Desk) -> None:
    durable = Durable(parts=[STEP, {"type": "text", "text": "one", "state": "done"}])
    async with BackgroundModel(ADDRESS, "key") as model:
        turn = desk.turn(reached=Note(2, Reached("resp_1", 7)).format(), durable=durable)
        assert turn.able(model) == "answer"
        assert turn.reached == Reached("resp_1", 7)

        older = desk.turn(reached=Note(1, Reached("resp_0", 7)).format(), durable=durable)
        assert older.able(model) != "answer"
        assert older.reached is None
    async with Model(ADDRESS, "key") as model:
        assert desk.turn(reached=Note(2, Reached("resp_1", 7)).format(), durable=durable).able(model) == "nothing"


async def test_the_open_text_is_the_prefix_only_where_it_is_continued_without_a_kept_answer(desk: Desk) -> None:
    turn = desk.turn()
    turn.take(Takeover([], folded(*HALF), None, continues=True))
    assert turn.prefix == "Once upon"
    assert turn.steps == 0, "a step that is open is not counted"

    turn.reached = Reached("resp_1", 7)
    assert turn.prefix == ""

    turn.take(Takeover([], folded(*HALF[:2]), None, continues=False))
    assert turn.prefix == ""
    assert turn.reached == Reached("resp_1", -1), "what is shown anew is read from its beginning"


async def test_steps_and_command_are_those_of_the_turn(desk: Desk) -> None:
    turn = desk.turn("/weather Köln")
    turn.take(Takeover([], folded(*HALF[:2], FinishStep()), None))

    assert (turn.steps, turn.command) == (1, ("weather", "Köln"))
    assert desk.turn("hello").command is None
