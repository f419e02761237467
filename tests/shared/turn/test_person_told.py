"""What a process left untold that died between its commit and the telling is told by who repairs the rest of it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.errors import SessionNotFound
from sluiceway.feeds.person_events import events_key
from sluiceway.store import Store
from sluiceway.store.operations.operations import NewOperation
from sluiceway.store.turns.accepting import AcceptedTurn, NewTurn
from sluiceway.store.turns.ending import TurnEnd
from sluiceway.wire.person_event import AnyPersonEvent

from harness.clients.turns import Streams, Turns

pytestmark = pytest.mark.requirement("GW-9", "TS-5")


@dataclass(frozen=True)
class Scene:
    store: Store
    turns: Turns
    redis: Redis

    async def accept(self, text: str = "hi") -> AcceptedTurn:
        """Committed, and nothing more."""
        return await self.store.turns.accept(NewTurn(session_id="s", user_id="ada", text=text, create_session=True))

    async def told(self, user_id: str = "ada") -> list[Any]:
        stored: Any = await self.redis.xrange(events_key(user_id))
        events = [fields[b"d"] for _, fields in stored if fields[b"t"] != b"begin"]
        return [AnyPersonEvent.model_validate_json(event).root for event in events]


@pytest.fixture
async def scene(database_url: str, redis: Redis) -> AsyncIterator[Scene]:
    async with Store.open(database_url, max_size=4, application_name="scene") as store:
        yield Scene(store, Turns(store, redis, Streams(redis)), redis)


async def test_a_turn_that_was_accepted_and_not_told_is_told_by_who_queues_it(scene: Scene) -> None:
    accepted = await scene.accept()
    assert accepted.session_created
    assert await scene.told() == []
    await scene.turns.dispatch.publish(accepted.task)
    assert [(event.type, event.task_id) for event in await scene.told()] == [("turn-started", accepted.task.id)]
    # What continues a turn in the background, or a message, says so: nobody has asked for it just now.
    for more in ({"continues": "task_0"}, {"parts_before": 2}):
        await scene.redis.delete(keys.task_meta(accepted.task.id))
        await scene.turns.dispatch.publish(replace(accepted.task, **more))
    assert [event.continues for event in await scene.told()] == [None, True, True]


@pytest.mark.parametrize("asks", [False, True])
async def test_an_end_that_was_committed_and_not_told_is_told_by_who_finalizes_it(scene: Scene, asks: bool) -> None:
    task = (await scene.accept()).task
    claimed = await scene.store.turns.claim(task.id)
    assert claimed is not None
    if asks:
        operation = NewOperation("op_1", 1, "c", "careful", {}, "default", "approval", 60, approval_id="a")
        part = {"type": "tool-careful", "toolCallId": "c", "state": "approval-requested", "input": {}}
        await scene.store.turns.pause(claimed, [part], [operation], None)
    await scene.store.turns.end(claimed, TurnEnd("completed", [], {}, awaits=asks), attempt=claimed.attempt)
    assert await scene.told() == []
    ended = await scene.store.turns.get(task.id)
    assert ended is not None
    assert ended.status == "completed"
    await scene.turns.ending.finalize(ended)
    assert [event.type for event in await scene.told()] == ["turn-needs-you" if asks else "turn-ended"]


async def test_the_end_of_a_turn_that_was_claimed_while_it_ran_is_told_to_who_has_it_now(scene: Scene) -> None:
    task = (await scene.accept()).task
    claimed = await scene.store.turns.claim(task.id)
    assert claimed is not None
    await scene.turns.intake.claim_session("s", "bob", "ada")
    await scene.turns.ending.end_unheld(claimed, "cancelled")
    assert [event.type for event in await scene.told("ada")] == ["session-deleted"]
    assert [event.type for event in await scene.told("bob")] == ["session-created", "turn-ended"]


async def test_a_deletion_whose_answer_was_lost_is_told_when_it_is_asked_for_again(scene: Scene) -> None:
    await scene.accept()
    await scene.store.sessions.delete("s", "ada")
    with pytest.raises(SessionNotFound):
        await scene.turns.intake.delete_session("s", "ada")
    assert [event.type for event in await scene.told()] == ["session-deleted"]
