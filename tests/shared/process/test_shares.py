"""Places in a process: who asks for many waits behind himself."""

import asyncio

import pytest
from sluiceway.process.shares import Place, Shares

from harness.waiting import wait_until

pytestmark = pytest.mark.requirement("SE-3")


async def test_who_gives_up_waiting_takes_nothing_with_him_and_a_place_is_left_once() -> None:
    shares = Shares(most=2, most_of_one=1)
    one, other = await shares.enter("one"), await shares.enter("other")
    waiting = [asyncio.create_task(shares.enter(who)) for who in ("one", "other", "third", "one")]
    await wait_until(lambda: shares.taken() == 6, 10, "all wait")
    for task in waiting[:3]:
        task.cancel()
    await asyncio.wait(waiting[:3])
    for place in (one, one, other, other):
        place.leave()
    async with asyncio.timeout(10):
        (await waiting[3]).leave()
        again: list[Place] = [await shares.enter("one"), await shares.enter("other")]
    assert shares.taken() == 2
    for place in again:
        place.leave()
    assert shares.taken() == 0
