"""What a person's devices are told, on a real Valkey: numbers without a gap, and a new generation after each loss."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from redis import exceptions as redis_errors
from redis.asyncio import Redis
from sluiceway.errors import RedisUnavailable
from sluiceway.feeds.person_events import MOST_KEPT, PersonEvents, events_key
from sluiceway.redis.client import open_redis
from sluiceway.wire.person_event import (
    AnyPersonEvent,
    PersonEvent,
    SessionDeleted,
    SessionRenamed,
    TurnEnded,
    TurnStarted,
)

from harness.databases.redis_pair import RedisPair
from harness.databases.valkey import Valkey
from harness.retention import RETENTION
from harness.waiting import wait_until

STARTED = TurnStarted(session_id="s", task_id="t", message_id="m")
ENDED = TurnEnded(session_id="s", task_id="t", status="completed")
pytestmark = pytest.mark.requirement("GW-9")


@pytest.fixture
def people(redis: Redis) -> PersonEvents:
    return PersonEvents(redis, RETENTION)


async def _stored(redis: Redis, user_id: str | None = "ada") -> list[tuple[int, int, str]]:
    """Generation, number and kind of each entry."""
    stored: Any = await redis.xrange(events_key(user_id))
    return [(*map(int, entry_id.split(b"-")), fields[b"t"].decode()) for entry_id, fields in stored]


async def test_events_are_numbered_without_a_gap_in_one_generation_whoever_tells_them(
    people: PersonEvents, redis: Redis
) -> None:
    other = PersonEvents(redis, RETENTION)
    place = await people.place("ada")
    await asyncio.gather(*(one.tell("ada", STARTED, ENDED) for one in (people, other) for _ in range(20)))
    stored = await _stored(redis)
    assert {generation for generation, _, _ in stored} == {int(place.partition("-")[0])}
    assert [number for _, number, _ in stored] == list(range(81))
    assert [kind for _, _, kind in stored] == ["begin", *["turn-started", "turn-ended"] * 40]
    assert await people.place("ada") == f"{stored[-1][0]}-80"


async def test_with_a_session_goes_what_was_told_of_it_and_who_had_not_read_that_sees_a_gap(
    people: PersonEvents, redis: Redis
) -> None:
    of_another = TurnStarted(session_id="s2", task_id="s", message_id="m")
    await people.tell("ada", SessionRenamed(session_id="s", title="secret"), of_another, STARTED)
    await people.tell("ada", SessionDeleted(session_id="s"))
    await people.tell("ada", ENDED)
    stored: Any = await redis.xrange(events_key("ada"))
    assert b"secret" not in repr(stored).encode()
    kinds = [(number, kind) for _, number, kind in await _stored(redis)]
    assert kinds == [(0, "begin"), (2, "turn-started"), (4, "session-deleted"), (5, "turn-ended")]


async def test_people_have_streams_of_their_own_and_their_names_are_in_no_key(
    people: PersonEvents, redis: Redis
) -> None:
    for user_id in ("ada", "bob", "local", None):
        await people.tell(user_id, STARTED)
    names = await redis.keys("*")
    assert len(names) == 4
    assert not [name for name in names if b"ada" in name or b"bob" in name]


async def test_what_is_told_is_trimmed_and_expires(people: PersonEvents, redis: Redis) -> None:
    for _ in range(3):
        await people.tell("ada", *[STARTED] * (MOST_KEPT // 2))
    stored = await _stored(redis)
    assert len(stored) == MOST_KEPT
    assert stored[-1][1] - stored[0][1] == MOST_KEPT - 1
    left_ms = await redis.pttl(events_key("ada"))
    assert RETENTION.live_ms - 60_000 < left_ms <= RETENTION.live_ms
    # Who only comes to follow leaves less behind, and makes nothing shorter.
    for user_id, at_most in (("bob", RETENTION.ended_ms), ("ada", RETENTION.live_ms)):
        await people.place(user_id)
        assert at_most - 60_000 < await redis.pttl(events_key(user_id)) <= at_most


@pytest.mark.parametrize("loss", ["flushed", "expired", "asked"])
async def test_after_a_loss_a_generation_begins_that_is_greater(people: PersonEvents, redis: Redis, loss: str) -> None:
    await people.tell("ada", STARTED)
    before = (await _stored(redis))[-1]
    if loss == "asked":
        await people.begin_anew("ada")
    else:
        await (redis.flushall() if loss == "flushed" else redis.delete(events_key("ada")))
    await people.tell("ada", ENDED)
    generation, number, kind = (await _stored(redis))[-1]
    assert generation > before[0]
    assert (number, kind) == (1, "turn-ended")


async def test_after_a_failover_no_id_comes_again_that_a_reader_has_seen(pair: RedisPair) -> None:
    async with open_redis(pair.url, name="test") as client:
        people = PersonEvents(client, RETENTION)
        await people.tell("ada", STARTED)
        await pair.in_step()
        pair.freeze_replication()
        await people.tell("ada", ENDED)
        seen = await _stored(client)
        await pair.fail_over()
        await wait_until(lambda: _can_tell(people), what="the one that took over is told")
        after = await _stored(client)
        assert after[:-1] == seen[:-1]
        assert after[-1][0] > seen[-1][0]


async def _can_tell(people: PersonEvents) -> bool:
    try:
        return bool(await people.place("ada"))
    except RedisUnavailable:
        return False


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[RedisPair]:
    pair = RedisPair(tmp_path)
    await pair.start()
    yield pair
    await pair.stop()


async def test_redis_away_is_told_to_who_tells_again_and_made_up_for_where_nobody_does(
    valkey: Valkey, away: PersonEvents, redis: Redis
) -> None:
    await away.tell("ada", STARTED)
    await away.tell("bob", STARTED)
    before = (await _stored(redis))[-1]
    running = asyncio.create_task(away.run())
    valkey.stop()
    with pytest.raises(RedisUnavailable):
        await away.tell("bob", ENDED)
    await away.mention("ada", SessionRenamed(session_id="s", title="lost"))
    valkey.start()
    await wait_until(lambda: _begun_after(redis, before[0]), what="a new generation")
    assert await redis.exists(events_key("bob")) == 0
    running.cancel()


async def _begun_after(redis: Redis, generation: int) -> bool:
    try:
        stored = await _stored(redis)
    except redis_errors.ConnectionError:
        return False  # of before
    return bool(stored) and stored[-1][0] > generation


@pytest.fixture
async def away(valkey_url: str) -> AsyncIterator[PersonEvents]:
    async with open_redis(valkey_url, name="away", max_connections=2) as client:
        yield PersonEvents(client, RETENTION)


async def test_a_key_that_somebody_else_has_written_keeps_no_turn_from_its_end(
    people: PersonEvents, redis: Redis
) -> None:
    await redis.set(events_key("ada"), "no stream", ex=60)
    await people.tell("ada", STARTED)
    await people.mention("ada", STARTED)


@pytest.mark.parametrize("event", [STARTED, ENDED, SessionRenamed(session_id="s", title="Fl\u00fcsse\u2028")])
def test_an_event_is_one_line_of_json_without_what_is_not_there(event: PersonEvent) -> None:
    encoded = event.encode()
    assert encoded.decode().splitlines() == [encoded.decode()]
    assert b"null" not in encoded
    assert AnyPersonEvent.model_validate_json(encoded).root == event
    with pytest.raises(ValidationError):
        AnyPersonEvent.model_validate_json(encoded.replace(b"session_id", b"sid"))
