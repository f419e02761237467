"""Whether what we stand on is fit for it: versions, persistence, eviction, memory, clocks, schema, settings.

Asks only; each finding is a sentence that says what to change, and is true of a machine that is late, too. Whether
Redis and Postgres are suitable is judged by the rules that the processes themselves wait for
(`redis_suitability.problems`, `Store.problems`).
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError
from sluiceway.errors import Unavailable
from sluiceway.redis.client import cluster_primaries, server_time_ms
from sluiceway.redis.cluster import ClusterRedis
from sluiceway.service import redis_suitability
from sluiceway.service.agreement import MOST_SKEW_SECONDS, Agreement, OtherProcess
from sluiceway.store import Store

_FULL = 0.9
_NEWS_SECONDS = 900
"""One that was killed keeps its place at a queue for an hour: so long it is news."""
_LONG_IDLE_SECONDS = 60.0
_RESERVED = 3
"""Connections that Postgres keeps for superusers, unless it was told otherwise."""


@dataclass(frozen=True, slots=True)
class Finding:
    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Clock:
    """How far another clock is ahead of ours, and by how much that may be wrong: the answer came some time later."""

    ahead_seconds: float
    uncertain_seconds: float

    @classmethod
    def read(cls, asked: float, told: float, answered: float) -> "Clock":
        """`told` was its time at some moment between ours."""
        return cls(told - (asked + answered) / 2, (answered - asked) / 2)


class Doctor:
    def __init__(
        self, redis: Redis, store: Store, agreement: Agreement, version: str, silent: Mapping[str, float] | None = None
    ) -> None:
        """`silent`: who holds a place at a queue and does not speak, for how many seconds."""
        self._redis = redis
        self._store = store
        self._agreement = agreement
        self._version = version
        self._silent = silent or {}

    async def examine(self) -> list[Finding]:
        """What is away is a finding, too."""
        findings: list[Finding] = []
        clocks: dict[str, Clock] = {}
        try:
            await self._of_redis(findings, clocks)
        except (Unavailable, ResponseError) as error:
            findings.append(Finding("redis", False, f"It does not answer: {error}"))
        try:
            await self._of_postgres(findings, clocks)
        except Unavailable as error:
            findings.append(Finding("postgres", False, f"It does not answer: {error}"))
        return [*findings, *of_clocks(clocks), *self._of_processes()]

    async def _of_redis(self, findings: list[Finding], clocks: dict[str, Clock]) -> None:
        asked = time.time()
        told = await server_time_ms(self._redis) / 1000
        clocks["redis"] = Clock.read(asked, told, time.time())
        if not isinstance(self._redis, ClusterRedis):
            findings += await _of_server(self._redis)
            return
        for primary in await cluster_primaries(self._redis):
            node = primary.connection_pool.connection_kwargs
            for one in await _of_server(primary, redis_suitability.COMMANDS_OF_CLUSTER):
                findings.append(replace(one, name=f"{one.name} of {node['host']}:{node['port']}"))

    async def _of_postgres(self, findings: list[Finding], clocks: dict[str, Clock]) -> None:
        problems = await self._store.problems()
        asked = time.time()
        facts = await self._store.ops.server()
        clocks["postgres"] = Clock.read(asked, facts["clock"], time.time())
        findings += of_postgres(facts, problems)
        pools = [self._agreement.pool, *(one.pool for one in self._agreement.others or ())]
        findings.append(_pools(facts, pools, pooled=self._agreement.pooled))

    def _of_processes(self) -> Iterable[Finding]:
        others: Sequence[OtherProcess] = self._agreement.others or ()
        versions = {self._version, *(one.version for one in others if one.version)}
        told = "; ".join(f"{one.component} {one.name} {one.version or 'of an unknown version'}" for one in others)
        yield Finding("versions", len(versions) == 1, f"this gateway {self._version}; {told or 'nobody else is there'}")
        differences = "; ".join(self._agreement.differences.values())
        yield Finding("settings", not differences, differences or "agree in all processes")
        lacking = "; ".join(f"{one.component} {one.name}: {one.lacks}" for one in others if one.lacks)
        yield Finding("processes", not lacking, lacking or f"{len(others) + 1} are there, and all are ready")
        for name, seconds in self._silent.items():
            told = f"silent for {seconds:.0f} s: frozen or dead; what it had in flight goes to another"
            yield Finding(f"process {name}", seconds > _NEWS_SECONDS, told)


def of_clocks(clocks: Mapping[str, Clock]) -> Iterable[Finding]:
    """None of them decides anything, but logs and pages are read by them. What an answer that came late can explain is
    no skew."""
    for name, clock in clocks.items():
        ahead, uncertain = clock.ahead_seconds, clock.uncertain_seconds
        told = f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} this gateway's"
        known = f", give or take {uncertain:.1f} s" if uncertain >= 0.1 else ""
        yield Finding(f"clock of {name}", abs(ahead) - uncertain < MOST_SKEW_SECONDS, told + known)


# Redis, from INFO.


async def _of_server(redis: Redis, of_cluster: Sequence[tuple[str, ...]] = ()) -> list[Finding]:
    """`of_cluster`: what the user has to be let do besides, as it is to be a node of one."""
    lacking = await redis_suitability.lacking_rights(redis, of_cluster)
    rights = Finding("redis rights", lacking is None, lacking or "all that is needed")
    info = await redis_suitability.info(redis, "persistence")
    return [rights, *of_redis(info, of_cluster=bool(of_cluster))]


def of_redis(info: Mapping[str, str], *, of_cluster: bool = False) -> Iterable[Finding]:
    problems = redis_suitability.problems(info, of_cluster=of_cluster)
    version = info.get("valkey_version") or info.get("redis_version", "unknown")
    role = f"{info.get('role', 'unknown')}, {info.get('connected_slaves', 0)} replicas"
    yield _judged("redis version", problems.get("version"), f"{info.get('server_name', 'redis')} {version}")
    yield _persistence(info)
    yield _judged("redis eviction", problems.get("eviction"), info.get("maxmemory_policy", "unknown"))
    yield _memory(info)
    yield _judged("redis role", problems.get("cluster") or problems.get("role"), role)


def _judged(name: str, problem: str | None, told: str) -> Finding:
    return Finding(name, problem is None, problem or told)


def _persistence(info: Mapping[str, str]) -> Finding:
    if info.get("aof_enabled") == "1":
        fit = info.get("aof_last_write_status") == "ok"
        return Finding("redis persistence", fit, "append-only file" + ("" if fit else ", and its last write failed"))
    saved = info.get("rdb_last_bgsave_status") == "ok"
    told = "snapshots only: a restart costs running turns a new attempt (nothing is lost: Postgres has it)"
    return Finding("redis persistence", saved, told if saved else f"{told}; the last snapshot failed")


def _memory(info: Mapping[str, str]) -> Finding:
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if not most:
        return Finding("redis memory", True, f"{used >> 20} MiB used, without a limit (maxmemory 0)")
    return Finding(
        "redis memory", used < most * _FULL, f"{used >> 20} of {most >> 20} MiB used ({used * 100 // most} %)"
    )


# Postgres, from its settings and views.


def of_postgres(facts: Mapping[str, Any], problems: Mapping[str, str]) -> Iterable[Finding]:
    yield _judged("postgres sessions", problems.get("sessions"), "a client keeps its session")
    yield _judged("postgres version", problems.get("version"), str(facts["version"]))
    yield _judged("postgres rights", problems.get("rights"), "all that is needed")
    yield _schema(facts)
    yield _judged("postgres writes", problems.get("writes"), "it takes writes")
    yield _judged("postgres orgs", problems.get("orgs"), "they are separated where there are any")
    yield _durability(facts)
    yield _connections(facts)
    yield _transactions(facts)


def _schema(facts: Mapping[str, Any]) -> Finding:
    missing = ", ".join(facts["missing"])
    return Finding(
        "postgres schema",
        not missing,
        f"missing: {missing}; run the migrations" if missing else f"current: {facts['schema']}",
    )


def _durability(facts: Mapping[str, Any]) -> Finding:
    fit = facts["fsync"] == "on" and facts["synchronous_commit"] != "off"
    told = f"fsync {facts['fsync']}, synchronous_commit {facts['synchronous_commit']}"
    return Finding("postgres durability", fit, told if fit else f"{told}: an accepted turn may be lost in a crash")


def _connections(facts: Mapping[str, Any]) -> Finding:
    used, most = facts["connections"], facts["most_connections"]
    told = f"{used} of {most} in use"
    if used < most * _FULL:
        return Finding("postgres connections", True, told)
    who = f"most of them, {facts['connections_most']}, by {facts['connections_name'] or 'a nameless client'}"
    end = "end those that nobody needs (pg_terminate_backend), raise max_connections, or set a pooler before Postgres"
    return Finding("postgres connections", False, f"{told}, {who}: {end}. Services keep those that they have")


def _pools(facts: Mapping[str, Any], pools: Sequence[int], *, pooled: bool) -> Finding:
    """Whether all processes find room at once: a rollout has twice as many for a while."""
    wanted, room = sum(pools), facts["most_connections"] - _RESERVED
    told = f"{len(pools)} processes may have {wanted} connections together (DATABASE_POOL_SIZE); {room} are to be had"
    if pooled:
        return Finding("postgres pools", True, f"{told} past the pooler, which shares its own among them")
    more = "" if wanted <= room else ": lower it, raise max_connections, or set a pooler before Postgres"
    return Finding("postgres pools", wanted <= room, told + more)


def _transactions(facts: Mapping[str, Any]) -> Finding:
    """One that does something, however long, is none: a dump takes hours."""
    seconds = facts["idle_seconds"] or 0.0
    if seconds < _LONG_IDLE_SECONDS:
        return Finding("postgres transactions", True, "none is idle")
    who = f"process {facts['idle_pid']} ({facts['idle_name'] or 'nameless'})"
    end = f"may hold locks: pg_terminate_backend({facts['idle_pid']}) where nobody needs it"
    return Finding("postgres transactions", False, f"that of {who} is idle for {seconds:.0f} s, and {end}")
