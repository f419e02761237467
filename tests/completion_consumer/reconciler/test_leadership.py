"""One consumer leads the reconciler; another does within ten seconds when it dies, freezes or ends."""

import asyncio
import time

import pytest
from sluiceway.errors import StoreUnavailable
from sluiceway.store import Store
from sluiceway.store.database.leadership import Leadership

from harness.databases.postgres import Postgres
from harness.metrics import metric, metrics_of
from harness.processes.services import Service, Services
from harness.proxies.proxy import Proxy
from harness.waiting import wait_until
from tests.completion_consumer.scene import Scene

# What is promised, and what is allowed for a machine that is busy with other tests.
WITHIN_SECONDS = 10
SETTINGS = {"RECONCILE_SECONDS": "0.2"}


async def _two(services: Services) -> tuple[Service, Service]:
    """The one that leads, and the other."""
    first, second = await asyncio.gather(
        services.completion_consumer(**SETTINGS), services.completion_consumer(**SETTINGS)
    )
    leaders = [await _leads(first), await _leads(second)]
    assert sorted(leaders) == [False, True]
    return (first, second) if leaders[0] else (second, first)


async def _leads(service: Service) -> bool:
    return await metric(service, "sluiceway_reconciler_leader") == 1


async def _repairs(service: Service) -> float:
    """Of the rounds that are over: what a round does can be seen before it is counted."""
    all_metrics = await metrics_of(service)
    return sum(number for (name, _), number in all_metrics.items() if name == "sluiceway_reconciler_repaired_total")


async def _has_repaired(service: Service, number: int) -> None:
    async def counted() -> bool:
        return await _repairs(service) >= number

    await wait_until(counted, what=f"{number} repairs are counted")
    assert await _repairs(service) == number


async def _repairs_a_turn(scene: Scene) -> None:
    """A turn that only the reconciler can queue is queued."""
    waiting = await scene.left_behind()
    await wait_until(lambda: scene.next_steps(waiting.task), what="the turn is queued")


@pytest.mark.requirement("OP-7")
async def test_another_leads_within_ten_seconds_when_the_leader_is_killed(services: Services, scene: Scene) -> None:
    leader, other = await _two(services)
    leader.kill9()
    await wait_until(lambda: _leads(other), WITHIN_SECONDS, "the other leads")
    await _repairs_a_turn(scene)
    await _has_repaired(other, 1)


@pytest.mark.requirement("OP-7")
async def test_another_leads_within_ten_seconds_when_the_leader_freezes_and_it_does_nothing_when_it_thaws(
    services: Services, scene: Scene
) -> None:
    leader, other = await _two(services)
    await _repairs_a_turn(scene)
    await _has_repaired(leader, 1)
    leader.freeze()
    await wait_until(lambda: _leads(other), WITHIN_SECONDS, "the other leads")
    left = [await scene.left_behind() for _ in range(20)]
    leader.thaw()
    assert not await _leads(leader)
    for waiting in left:
        await wait_until(lambda: scene.next_steps(waiting.task), what="the turn is queued")  # noqa: B023
    await wait_until(lambda: any(line["event"] == "leadership_lost" for line in leader.log_lines))
    await _has_repaired(leader, 1)
    await _has_repaired(other, len(left))
    assert [await scene.next_steps(waiting.task) for waiting in left] == [1] * len(left)
    assert await leader.answers("/readyz")


@pytest.mark.requirement("OP-7")
async def test_another_leads_within_ten_seconds_when_the_leaders_network_swallows_everything(
    services: Services, scene: Scene, postgres: Postgres, database_url: str
) -> None:
    async with Proxy(postgres.port) as network:
        behind = database_url.replace(f":{postgres.port}/", f":{network.port}/")
        leader = await services.completion_consumer(**SETTINGS, DATABASE_URL=behind)
        other = await services.completion_consumer(**SETTINGS)
        assert await _leads(leader)
        network.hold()
        await wait_until(lambda: _leads(other), WITHIN_SECONDS, "the other leads")
        assert not await _leads(leader)
        await _repairs_a_turn(scene)
        network.release()
        await wait_until(lambda: leader.answers("/readyz"), 30, "it follows")
        assert await _leads(other)
        assert not await _leads(leader)
        assert await leader.terminate() == 0


@pytest.mark.requirement("OP-7", "CC-10")
async def test_a_leader_that_ends_lets_another_lead_at_once(services: Services, scene: Scene) -> None:
    leader, other = await _two(services)
    assert await leader.terminate() == 0
    await wait_until(lambda: _leads(other), 5, "the other leads")
    await _repairs_a_turn(scene)


@pytest.mark.requirement("OP-7", "CC-8")
async def test_one_leads_again_after_postgres_went_away(services: Services, scene: Scene, postgres: Postgres) -> None:
    consumers = await _two(services)
    postgres.stop()
    await wait_until(lambda: _none_leads(consumers), WITHIN_SECONDS, "none leads without Postgres")
    postgres.start()
    await wait_until(lambda: _one_leads(consumers), 20, "one leads again")
    await _repairs_a_turn(scene)
    assert await _one_leads(consumers)


async def _none_leads(consumers: tuple[Service, Service]) -> bool:
    return not any([await _leads(consumer) for consumer in consumers])


async def _one_leads(consumers: tuple[Service, Service]) -> bool:
    return [await _leads(consumer) for consumer in consumers].count(True) == 1


@pytest.mark.requirement("OP-7")
async def test_a_leader_that_falls_silent_knows_that_it_does_not_lead_before_another_does(
    scene: Scene, database_url: str
) -> None:
    async with Store.open(database_url, max_size=1, application_name="other") as other:
        silent, candidate = scene.store.leadership("test"), other.leadership("test")
        assert await silent.stand()
        assert silent.leads
        assert not await candidate.stand()
        both = []

        async def takes_over() -> bool:
            led = await candidate.stand()
            both.append(led and silent.leads)
            return led

        began = time.monotonic()
        await wait_until(takes_over, WITHIN_SECONDS, "the other leads")
        assert time.monotonic() - began > 4  # silence is forgiven for a while: a leader may be busy
        assert not any(both)
        assert not silent.leads
        # It stands again, as a candidate, with a session of its own.
        await wait_until(lambda: _is_refused(silent), what="it is a candidate again")
        await candidate.resign()
        await wait_until(silent.stand, what="it leads again")
        await silent.resign()


async def _is_refused(leadership: Leadership) -> bool:
    try:
        return not await leadership.stand()
    except StoreUnavailable:  # its session was ended
        return False
