"""How operations are begun."""

import pytest
from sluiceway.ids import new_operation_id
from sluiceway.store import Store
from sluiceway.store.accepting import NewTurn
from sluiceway.store.operations import NewOperation


@pytest.mark.requirement("CH-9", "CC-6")
async def test_a_beginning_is_one_however_often_it_is_sent_and_another_of_the_same_runner_is_another(
    database_url: str,
) -> None:
    """Without the first a lost answer would look like a runner that died; without the second a runner that died and
    came back under its name would do again what may be done only once."""
    async with Store.open(database_url, max_size=2, application_name="test") as store:
        accepted = await store.turns.accept(NewTurn(session_id="s", user_id=None, text="please", create_session=True))
        task = await store.turns.claim(accepted.task.id)
        assert task is not None
        one = NewOperation(
            id=new_operation_id(),
            step=1,
            tool_call_id="call_1",
            tool_name="echo",
            input={},
            queue="default",
            status="pending",
            deadline_seconds=60,
        )
        await store.turns.pause(task, [], [one], None)

        begun = [await store.operations.start(one.id, runner) for runner in ("r/1", "r/1", "r/2", "r/2")]

        assert [started and (started.before, started.operation.attempt) for started in begun] == [
            (0, 1),
            (0, 1),
            (1, 2),
            (1, 2),
        ]
