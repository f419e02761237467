"""The scenarios: what is asked, by whom, and what happens to the system meanwhile."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from chaos.faults import Faults
from chaos.questions import Kind
from chaos.stack import Topology
from chaos.strangers import deaf_readers, held_back_bodies, hostile_tools

Program = Callable[[Faults], Awaitable[None]]

_TALK: Mapping[Kind, int] = MappingProxyType({"plain": 1})
_TOOLS: Mapping[Kind, int] = MappingProxyType({"plain": 1, "tools": 2, "long": 1})
_WEBHOOKS: Mapping[Kind, int] = MappingProxyType({"webhook": 3, "tools": 1})
_ALL: Mapping[Kind, int] = MappingProxyType({"plain": 4, "tools": 2, "long": 1, "webhook": 2})
# Some answers take longer than a chat worker's grace period, so that they have to be released.
_SLOW: Mapping[Kind, int] = MappingProxyType({"plain": 6, "tools": 2, "long": 1, "webhook": 2, "slow": 1})
_LARGE: Mapping[Kind, int] = MappingProxyType({"plain": 2, "large": 1})
_POISON: Mapping[Kind, int] = MappingProxyType({"poison": 8, "plain": 2, "tools": 1, "endless": 1})
_HOSTILE: Mapping[Kind, int] = MappingProxyType({"hostile": 3, "plain": 2, "tools": 1})
_PEOPLE: Mapping[str, int] = MappingProxyType({"event-source": 3, "ai-sdk": 3, "background": 3, "vanishing": 1})
_CHATTING: Mapping[str, int] = MappingProxyType({"chatting-on": 1})
_RACERS: Mapping[str, int] = MappingProxyType({"racing": 1})
_WANDERERS: Mapping[str, int] = MappingProxyType({"vanishing": 3, "slow": 2, "event-source": 1, "ai-sdk": 1})


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the table: a fault program, the weights of what is asked and of who asks, and how Redis is reached."""

    name: str
    about: str
    program: Program
    kinds: Mapping[Kind, int]
    clients: Mapping[str, int]
    topology: Topology = "address"


def _again(fault: Callable[[Faults], Awaitable[None]]) -> Program:
    """That fault, so many rounds, with a pause after each."""

    async def program(faults: Faults) -> None:
        for _ in range(faults.pace.rounds):
            await fault(faults)
            await faults.pause()

    return program


async def _none(faults: Faults) -> None:
    for _ in range(faults.pace.rounds):
        await faults.pause()


async def _deploy(faults: Faults) -> None:
    await faults.pause()
    await faults.deploy()
    await faults.pause()


async def _anything(faults: Faults) -> None:
    possible: list[Callable[[], Awaitable[None]]] = [
        lambda: faults.kill_one("gateway"),
        lambda: faults.kill_one("chat-worker"),
        lambda: faults.kill_one("tool-runner"),
        lambda: faults.kill_one("completion-consumer"),
        lambda: faults.freeze_one("chat-worker"),
        faults.flush,
        faults.restart_redis,
        faults.fail_over_redis,
        faults.reset_connections,
        faults.restart_postgres,
    ]
    for _ in range(2 * faults.pace.rounds):
        await faults.rng.choice(possible)()
        await faults.pause()


async def _while_they_chat(faults: Faults) -> None:
    """What holds a turn, a result or the queues between them."""
    possible: list[Callable[[], Awaitable[None]]] = [
        lambda: faults.kill_one("chat-worker"),
        lambda: faults.kill_one("completion-consumer"),
        faults.flush,
    ]
    for _ in range(faults.pace.rounds):
        for fault in faults.rng.sample(possible, len(possible)):
            await fault()
            await faults.pause()


_LIST = (
    Scenario("quiet", "no fault at all", _none, _ALL, _PEOPLE),
    Scenario("kill-worker", "kill -9 of chat workers", _again(lambda it: it.kill_one("chat-worker")), _TALK, _PEOPLE),
    Scenario(
        "kill-worker-tools", "the same, with tools", _again(lambda it: it.kill_one("chat-worker")), _TOOLS, _PEOPLE
    ),
    Scenario("kill-gateway", "kill -9 of gateways", _again(lambda it: it.kill_one("gateway")), _ALL, _PEOPLE),
    Scenario("kill-runner", "kill -9 of tool runners", _again(lambda it: it.kill_one("tool-runner")), _TOOLS, _PEOPLE),
    Scenario(
        "kill-consumer",
        "kill -9 of completion consumers",
        _again(lambda it: it.kill_one("completion-consumer")),
        _WEBHOOKS,
        _PEOPLE,
    ),
    Scenario(
        "zombies",
        "SIGSTOP of chat workers past their lease",
        _again(lambda it: it.freeze_one("chat-worker")),
        _ALL,
        _PEOPLE,
    ),
    Scenario(
        "zombie-runners", "the same of tool runners", _again(lambda it: it.freeze_one("tool-runner")), _TOOLS, _PEOPLE
    ),
    Scenario("flush", "FLUSHALL", _again(Faults.flush), _ALL, _PEOPLE),
    Scenario("redis-restart", "Redis killed and started with nothing", _again(Faults.restart_redis), _ALL, _PEOPLE),
    Scenario(
        "redis-failover",
        "Redis fails over to a replica that lacks the last writes",
        _again(Faults.fail_over_redis),
        _ALL,
        _PEOPLE,
    ),
    Scenario(
        "connection-reset",
        "connections to Redis reset in the middle of commands",
        _again(Faults.reset_connections),
        _ALL,
        _PEOPLE,
    ),
    Scenario("postgres-restart", "Postgres away for a while", _again(Faults.restart_postgres), _ALL, _PEOPLE),
    Scenario(
        "postgres-rewound",
        "Postgres put back to a backup of a moment before, Redis not",
        _again(Faults.rewind_postgres),
        _TALK,
        _PEOPLE,
    ),
    Scenario("kill-everything", "all services and Redis killed at once", _again(Faults.kill_everything), _ALL, _PEOPLE),
    Scenario("deploy", "every process replaced, one after another", _deploy, _SLOW, _PEOPLE),
    Scenario("browsers", "slow and vanishing browsers", _none, _LARGE, _WANDERERS),
    Scenario("poison-data", "a model that says what nobody can store, or never stops", _none, _POISON, _PEOPLE),
    Scenario("deaf-readers", "a crowd that follows long answers and reads nothing", deaf_readers, _ALL, _PEOPLE),
    Scenario("held-back-bodies", "a crowd whose forged webhooks never end", held_back_bodies, _WEBHOOKS, _PEOPLE),
    Scenario("hostile-tools", "results of 200 MB, and pages that want to kill", hostile_tools, _HOSTILE, _PEOPLE),
    Scenario("race", "every message posted to both gateways at once", _none, _TALK, _RACERS),
    Scenario("chat-on", "people write on while tools run; kill -9, FLUSHALL", _while_they_chat, _TALK, _CHATTING),
    Scenario(
        "sentinel-failover",
        "Sentinels fail over from a primary that is killed or frozen",
        _again(Faults.fail_over_redis),
        _ALL,
        _PEOPLE,
        "sentinel",
    ),
    Scenario(
        "cluster-failover",
        "a primary of a cluster is killed or frozen",
        _again(Faults.fail_over_redis),
        _ALL,
        _PEOPLE,
        "cluster",
    ),
    Scenario(
        "cluster-reshard",
        "slots of live streams, and of the queue, move to other nodes",
        _again(Faults.move_slots),
        _ALL,
        _PEOPLE,
        "cluster",
    ),
    Scenario("mixture", "anything, in any order", _anything, _ALL, _PEOPLE),
)
SCENARIOS = {scenario.name: scenario for scenario in _LIST}
