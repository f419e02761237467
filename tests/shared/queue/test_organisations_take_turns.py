"""Organisations take turns by their weights, and within one its people do, however many they are and have queued."""

import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from itertools import count

import pytest
from pydantic import ValidationError
from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.ids import owner_in_org
from sluiceway.process.org_weights import OrgWeights
from sluiceway.process.settings import CommonSettings
from sluiceway.queue.partitioned_queue import PartitionedQueue
from sluiceway.queue.partitions import placed
from sluiceway.queue.queue_places import QueuePlaces, Waiting
from sluiceway.queue.work_queue import Producer, WorkQueue, lane_names
from sluiceway.redis.client import open_redis
from sluiceway.scripts import Scripts
from sluiceway.service.agreement import Agreement
from sluiceway.wire.jobs import ChatJob

pytestmark = pytest.mark.requirement("GW-11")
LEASE = timedelta(seconds=30)
SHORT = timedelta(milliseconds=50)
WEIGHTS = OrgWeights.parse("acme=3")
NO_ORGS = "sw:lanes:{sw:q:chat:0}:unknown"


class Scene:
    """Turns are named by who has them: `acme/ann 3`, `bob 0`."""

    def __init__(self, redis: Redis, blocking: Redis, weights: OrgWeights = WEIGHTS) -> None:
        self.redis = redis
        self.producer = Producer(redis, keys.CHAT, 1, weights)
        self.queue = WorkQueue(redis, blocking, keys.CHAT, "worker-1", lease=LEASE, weights=weights)

    async def add(self, *names: str, begun: bool = False) -> list[str]:
        return [
            await self.producer.add(ChatJob(task_id=name).encode(), user_id=owner(name), begun=begun) for name in names
        ]

    async def add_as_before(self, name: str) -> None:
        """As a gateway does that knows nothing of organisations."""
        entries, heads = keys.lane_entries(keys.CHAT), keys.lane_heads(keys.CHAT)
        names = [self.queue.key, entries, heads, keys.lane(keys.CHAT, owner(name))]
        body = ChatJob(task_id=name).encode()
        await Scripts(self.redis).run("queue/admit", names, [keys.GROUP, owner(name), "", body, ""])

    async def read(self, most: int = 1) -> list[str]:
        return [named(one.body) for one in await self.queue.read(most, SHORT)]

    async def read_as_before(self) -> list[str]:
        """As a worker does that knows nothing of organisations."""
        read = ("XREADGROUP", "GROUP", keys.GROUP, "old", "COUNT", 1, "STREAMS", self.queue.key, ">")
        answer = await self.redis.execute_command(*read)  # type: ignore[no-untyped-call]
        names = [self.queue.key, keys.lane_entries(keys.CHAT), keys.lane_heads(keys.CHAT), NO_ORGS]
        arguments: list[str | int] = [keys.GROUP, *lane_names(keys.CHAT, 0), 200, 1]
        await Scripts(self.redis).run("queue/advance", names, arguments)
        return [named(fields[b"d"]) for _, fields in answer[0][1]] if answer else []

    async def drained(self, most: int = 10_000) -> list[str]:
        """One at a time, as a worker with one slot takes them."""
        seen: list[str] = []
        while len(seen) < most and (found := await self.read()):
            seen += found
        return seen


def owner(name: str) -> str:
    who = name.partition(" ")[0]
    org, _, user = who.rpartition("/")
    return owner_in_org(org, user) if org else user


def named(body: bytes) -> str:
    return ChatJob.model_validate_json(body).task_id


def turns(who: str, number: int) -> list[str]:
    return [f"{who} {n}" for n in range(number)]


def groups(seen: Sequence[str]) -> str:
    """By their first letters."""
    return "".join(name[0] for name in seen)


@pytest.fixture
async def blocking(valkey_url: str) -> AsyncIterator[Redis]:
    async with open_redis(valkey_url, name="reader", blocking=True) as client:
        yield client


@pytest.fixture
async def scene(redis: Redis, blocking: Redis) -> Scene:
    scene = Scene(redis, blocking)
    await scene.queue.ensure_group()
    return scene


async def test_an_organisation_of_many_people_has_one_turn_where_another_has_one(redis: Redis, blocking: Redis) -> None:
    scene = Scene(redis, blocking, OrgWeights())
    await scene.queue.ensure_group()
    for person in range(50):
        await scene.add(*turns(f"acme/p{person}", 4))
    await scene.add("bees/bea 0", "bees/ben 0", "carl 0", "carl 1")
    seen = await scene.drained()
    assert groups(seen[:7]) == "abcabca"
    assert len(seen) == len(set(seen)) == 204
    of_acme = [name for name in seen if name[0] == "a"]
    assert of_acme == [f"acme/p{person} {n}" for n in range(4) for person in range(50)], "its people take turns, too"


async def test_turns_are_by_weight_while_there_are_any_and_nobody_has_more(scene: Scene) -> None:
    for who in ("acme/ann", "acme/abe", "bees/bea", "carl"):
        await scene.add(*turns(who, 30))
    seen = await scene.drained()
    assert Counter(groups(seen[:50])) == {"a": 30, "b": 10, "c": 10}
    for first in range(0, 80, 5):
        window = Counter(groups(seen[first : first + 5]))
        assert window == {"a": 3, "b": 1, "c": 1}, "of any five turns in a row, as long as all wait"
    acme = [name for name in seen if name[0] == "a"][3:]
    assert [name[5:8] for name in acme[:54]] == ["abe", "ann"] * 27 or [name[5:8] for name in acme[:54]] == [
        "ann",
        "abe",
    ] * 27
    assert len(seen) == len(set(seen)) == 120


async def test_one_person_has_all_the_turns_of_his_organisation_while_nobody_else_of_it_waits(scene: Scene) -> None:
    await scene.add(*turns("acme/ann", 12), *turns("bees/bea", 4))
    assert groups(await scene.read(4)) == "aaab"
    await scene.add("acme/new 0")
    seen = await scene.drained()
    assert [name for name in seen if name.startswith("acme/ann")] == [f"acme/ann {n}" for n in range(3, 12)]
    assert seen.index("acme/new 0") <= 4, "behind what had a seat already"


async def test_who_comes_to_an_organisation_waits_for_one_turn_of_each_of_its_people(
    redis: Redis, blocking: Redis
) -> None:
    scene = Scene(redis, blocking, OrgWeights())
    await scene.queue.ensure_group()
    await scene.add(*turns("acme/flood", 500))
    await scene.add("acme/ann 0", "acme/ann 1", "acme/ben 0")
    seen = await scene.drained()
    assert [name[5:] for name in seen[:6]] == ["flood 0", "ann 0", "ben 0", "flood 1", "ann 1", "flood 2"]
    assert len(seen) == len(set(seen)) == 503


async def test_people_who_come_one_after_the_other_keep_nobody_of_their_organisation_waiting(scene: Scene) -> None:
    """Each new one waits for those who were there."""
    await scene.add(*turns("acme/flood", 9), "acme/p0 0")
    number, seen = count(1), list[str]()
    while sum(name.startswith("acme/flood") for name in seen) < 9:
        await scene.add(f"acme/p{next(number)} 0")
        seen += await scene.read()
        assert len(seen) < 90
    assert [name for name in seen if "flood" in name] == turns("acme/flood", 9)


async def test_a_turn_that_was_begun_goes_before_the_others_of_its_user(scene: Scene) -> None:
    await scene.add(*turns("acme/ann", 6))
    assert (await scene.add("acme/ann begun", begun=True))[0].startswith("lane:")
    assert await scene.drained() == [*turns("acme/ann", 3), "acme/ann begun", *turns("acme/ann", 6)[3:]]


async def test_only_what_waits_leaves_keys(redis: Redis, scene: Scene) -> None:
    await scene.add(*turns("acme/ann", 9), *turns("acme/ben", 2), *turns("bees/bea", 3), "carl 0")
    await scene.drained()
    assert await redis.xlen(keys.lane_entries(keys.CHAT)) == 0
    assert await redis.keys("sw:lanes:*") == [keys.lane_entries(keys.CHAT).encode()]


async def test_workers_and_gateways_of_a_version_before_lose_nothing_beside_others(scene: Scene) -> None:
    """In each of their combinations, with entries of theirs in lanes of the same person."""
    sent: list[str] = []
    number = count()

    async def add(how: str) -> None:
        for who in ("acme/ann", "acme/ann", "acme/ben", "bees/bea", "carl"):
            name = f"{who} {next(number)}"
            sent.append(name)
            await (scene.add(name) if how == "new" else scene.add_as_before(name))

    seen: list[str] = []
    for how in ("old", "new", "old", "new"):
        await add(how)
        for _ in range(3):
            seen += await scene.read_as_before()
            seen += await scene.read()
    # Older workers alone, beside the reconciler of this version, as it looks each round.
    await add("new")
    while found := [*await scene.read_as_before(), *await scene.read_as_before()]:
        seen += found
        await scene.producer.advance()
    seen += await scene.drained()
    assert sorted(seen) == sorted(sent)
    for who in ("acme/ann", "acme/ben", "bees/bea", "carl"):
        mine = [int(name.split()[1]) for name in seen if name.startswith(who)]
        assert mine == sorted(mine), f"{who} is answered in another order"


async def test_older_workers_alone_let_everything_through(scene: Scene) -> None:
    await scene.add(*turns("acme/ann", 6), *turns("acme/ben", 2))
    seen: list[str] = []
    while found := await scene.read_as_before():
        seen += found
    assert sorted(seen) == sorted([*turns("acme/ann", 6), *turns("acme/ben", 2)])


@pytest.mark.parametrize("lost", ["seats:acme", "people:acme", "orgs", "of:org:acme:ann", "queue", "group"])
async def test_what_a_hand_took_keeps_nothing_else_from_coming(redis: Redis, scene: Scene, lost: str) -> None:
    await scene.add(*turns("acme/ann", 8), *turns("acme/ben", 3))
    in_queue = [named(body) for _, body in await scene.producer.after("0-0", 100)]
    if lost == "group":
        await scene.read(2)
        await redis.xgroup_destroy(scene.queue.key, keys.GROUP)
    else:
        await redis.delete(scene.queue.key if lost == "queue" else f"sw:lanes:{{sw:q:chat:0}}:{lost}")
    await scene.add("acme/ann late", "acme/new 0")
    seen: list[str] = []
    for _ in range(3):  # a group is made again, or a read comes back with what its lanes let through
        seen += await scene.drained()
    expected = {*turns("acme/ann", 8), *turns("acme/ben", 3), "acme/ann late", "acme/new 0"}
    assert set(seen) == expected - (set(in_queue) if lost == "queue" else set())


async def test_a_flush_of_redis_leaves_nothing_that_would_hold_an_organisation_back(redis: Redis, scene: Scene) -> None:
    await scene.add(*turns("acme/ann", 8))
    await redis.flushall()
    await scene.add("acme/ann again", "acme/ben 0")
    assert await scene.read() == []  # the group is made again
    assert await scene.drained() == ["acme/ann again", "acme/ben 0"]


async def test_what_a_worker_releases_keeps_no_seat(scene: Scene) -> None:
    await scene.add(*turns("acme/ann", 5), "bees/bea 0")
    taken = await scene.queue.read(1, SHORT)
    assert await scene.queue.requeue([taken[0].entry_id]) == 1
    seen = await scene.drained()
    assert seen[:5] == ["acme/ann 1", "acme/ann 2", "bees/bea 0", "acme/ann 3", "acme/ann 0"]
    assert len(seen) == 6


async def test_a_weight_that_is_raised_or_lowered_counts_from_the_next_turn_on(redis: Redis, blocking: Redis) -> None:
    low = Scene(redis, blocking, OrgWeights())
    await low.queue.ensure_group()
    await low.add(*turns("acme/ann", 30), *turns("bees/bea", 30))
    assert groups(await low.drained(4)) == "abab"
    high = Scene(redis, blocking)
    assert groups(await high.drained(10)).count("a") >= 7
    assert groups(await low.drained(4))[-2:] in ("ab", "ba", "aa")
    assert Counter(groups(await low.drained(8))) == {"a": 4, "b": 4}


async def test_places_say_in_which_order_turns_are_taken(redis: Redis, scene: Scene) -> None:
    names = [*turns("acme/ann", 7), *turns("acme/ben", 4), *turns("bees/bea", 3), *turns("carl", 3), "acme/new 0"]
    asked = [Waiting(name, owner(name), entry) for name, entry in zip(names, await scene.add(*names), strict=True)]
    places = QueuePlaces(redis, keys.CHAT, WEIGHTS)
    told = [(await places.find(asked)).ahead]
    taken: list[str] = []
    while found := await scene.read():
        taken += found
        told.append((await places.find(asked)).ahead)
    assert sorted(taken) == sorted(names)
    for past, ahead in enumerate(told):
        left = taken[past:]
        assert set(ahead) == set(left)
        for place, name in enumerate(left):
            # A round through those who wait is five turns here.
            assert place - 5 < ahead[name] <= place + 1, f"{name} is {place}th, and told {ahead[name]}"
            assert ahead[name] <= told[max(past - 1, 0)][name], "though nobody came"


async def test_an_organisation_is_in_one_partition_and_takes_turns_with_those_of_others(
    redis: Redis, blocking: Redis
) -> None:
    producer = Producer(redis, keys.CHAT, 4, WEIGHTS)
    queue = PartitionedQueue(redis, blocking, keys.CHAT, "w", lease=LEASE, partitions=4, weights=WEIGHTS)
    await queue.ensure_group()
    asked: list[Waiting] = []
    for who in ("acme/ann", "acme/abe", "bees/bea", "carl", "dora"):
        for name in turns(who, 9):
            entry = await producer.add(ChatJob(task_id=name).encode(), user_id=owner(name))
            asked.append(Waiting(name, owner(name), entry))
    assert len({placed(one.entry_id or "")[0] for one in asked if one.task_id[0] == "a"}) == 1
    assert len({placed(one.entry_id or "")[0] for one in asked}) > 1
    places, seen, told = QueuePlaces(redis, keys.CHAT, WEIGHTS), list[str](), list[dict[str, int]]()
    while len(seen) < len(asked):
        told.append(dict((await places.find(asked)).ahead))
        seen += [named(one.body) for one in await queue.read(1, SHORT)]
    await queue.leave()
    assert len(set(seen)) == len(asked)
    assert Counter(groups(seen[:30])) == {"a": 15, "b": 5, "c": 5, "d": 5}
    assert all(abs(seen.index(name) - told[0][name]) <= 6 for name in seen)


def test_weights_are_of_organisations_as_tokens_name_them() -> None:
    weights = OrgWeights.parse(" acme = 3, Müller & Co=2 ,a%2Cb=4, *=2,same=2")
    assert [weights.of(org) for org in ("acme", "M%C3%BCller%20%26%20Co", "a%2Cb", "other")] == [3, 2, 4, 2]
    assert str(weights) == "a%2Cb=4,acme=3,*=2"
    assert OrgWeights.parse(str(weights)).arguments == [2, "a%2Cb", 4, "acme", 3]
    assert (str(OrgWeights.parse("")), OrgWeights.parse("").of("acme")) == ("", 1)


@pytest.mark.parametrize("said", ["acme", "acme=", "=3", "acme=0", "acme=101", "acme=1.5", "acme=-1", "a=1,a=2", "*=x"])
def test_weights_that_are_none_fail_the_start_by_name(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORG_WEIGHTS", said)
    with pytest.raises(ValidationError, match=re.escape("org_weights")) as raised:
        CommonSettings()
    assert len(raised.value.errors()) == 1


async def test_weights_that_differ_are_told_without_the_names_of_customers(redis: Redis) -> None:
    one = Agreement(redis, "gateway a", CommonSettings(org_weights="*=1,acme=3"))
    same = Agreement(redis, "chat-worker b", CommonSettings(org_weights="acme=3"))
    for each in (one, same, one):
        await each.compare()
    assert one.warnings == same.warnings == {}
    await Agreement(redis, "chat-worker c", CommonSettings()).compare()
    await one.compare()
    assert one.warnings == {"settings": "ORG_WEIGHTS differs from that of chat-worker c"}
