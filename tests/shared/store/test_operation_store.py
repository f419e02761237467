"""How operations are begun."""

import pytest
from sluiceway.ids import new_operation_id
from sluiceway.store import Store
from sluiceway.store.operations.operations import NewOperation
from sluiceway.store.turns.accepting import NewTurn


@pytest.mark.requirement("CH-9", "CC-6")
async def test_a_beginning_is_one_however_often_it_is_sent_and_another_only_where_the_last_is_known_to_be_over(
    database_url: str,
) -> None:
    """Without the first a lost answer would look like a runner that died; without the second two runners would do what
    may be done only once."""
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

        asked = (("r/1", "1-0", 0), ("r/1", "1-0", 0), ("r/2", "2-0", 0), ("r/2", "2-0", 1), ("r/2", "2-0", 1))
        begun = [await store.operations.start(one.id, runner, entry, over=over) for runner, entry, over in asked]

        assert [
            started and (started.before, started.operation.attempt, started.operation.entry_id) for started in begun
        ] == [
            (0, 1, "1-0"),
            (0, 1, "1-0"),
            None,
            (1, 2, "2-0"),
            (1, 2, "2-0"),
        ]
        assert await store.operations.start(one.id, "r/3", "3-0", over=1) is None
