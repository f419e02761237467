"""Dead letters in Postgres: what a scrape costs, and letting one say something else."""

import pytest
from sluiceway.store import Store
from sluiceway.store.operating import dead_letters


@pytest.mark.requirement("OP-5", "OP-6")
async def test_a_scrape_counts_no_more_than_the_newest_and_a_letter_can_be_rewritten(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "MOST_COUNTED", 3)
    async with Store.open(database_url, max_size=1, application_name="test") as store:
        letters = store.dead_letters
        for number, queue in enumerate(("chat", "chat", "completions", "chat"), start=1):
            await letters.add(
                queue=queue, entry_id=f"{number}-0", body=b"no job", reason="why", deliveries=6, task_id=None
            )
        assert await letters.counts() == {"chat": 2, "completions": 1}
        (newest, *_) = await letters.newest(1)
        assert await letters.rewrite(newest.id, b'{"task_id":"t"}', "t")
        (newest, *_) = await letters.newest(1)
        assert (newest.body, newest.task_id, newest.reason) == (b'{"task_id":"t"}', "t", "why")
        assert await letters.rewrite(newest.id, b"{}", None)
        assert (await letters.newest(1))[0].task_id == "t"
        assert not await letters.rewrite(newest.id + 1, b"{}", None)
