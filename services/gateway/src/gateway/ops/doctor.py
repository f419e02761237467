"""Whether what we stand on is fit for it: versions, persistence, eviction, memory, clocks, schema, settings.

Asks only; each finding is a sentence that says what to change.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError
from sluiceway.errors import Unavailable
from sluiceway.redis_client import redis_errors, server_time_ms
from sluiceway.service.agreement import Agreement, OtherProcess
from sluiceway.store import Store

_MOST_SKEW_SECONDS = 5.0
_OLDEST_REDIS = 7
_OLDEST_POSTGRES = 14
_FULL = 0.9


@dataclass(frozen=True, slots=True)
class Finding:
    name: str
    ok: bool
    detail: str


class Doctor:
    def __init__(self, redis: Redis, store: Store, agreement: Agreement, version: str) -> None:
        self._redis = redis
        self._store = store
        self._agreement = agreement
        self._version = version

    async def examine(self) -> list[Finding]:
        """What is away is a finding, too."""
        findings: list[Finding] = []
        clocks: dict[str, float] = {}
        try:
            findings += await self._of_redis(clocks)
        except (Unavailable, ResponseError) as error:
            findings.append(Finding("redis", False, f"It does not answer: {error}"))
        try:
            findings += await self._of_postgres(clocks)
        except Unavailable as error:
            findings.append(Finding("postgres", False, f"It does not answer: {error}"))
        return [*findings, *_of_clocks(clocks), *self._of_processes()]

    async def _of_redis(self, clocks: dict[str, float]) -> Iterable[Finding]:
        async with redis_errors(self._redis):
            info: Mapping[str, Any] = await self._redis.info()
        clocks["redis"] = await server_time_ms(self._redis) / 1000 - time.time()
        return [judge(info) for judge in _REDIS]

    async def _of_postgres(self, clocks: dict[str, float]) -> Iterable[Finding]:
        facts = await self._store.ops.server()
        clocks["postgres"] = facts["clock"] - time.time()
        return [judge(facts) for judge in _POSTGRES]

    def _of_processes(self) -> Iterable[Finding]:
        others: Sequence[OtherProcess] = self._agreement.others or ()
        versions = {self._version, *(one.version for one in others if one.version)}
        told = "; ".join(f"{one.component} {one.name} {one.version or 'of an unknown version'}" for one in others)
        yield Finding("versions", len(versions) == 1, f"this gateway {self._version}; {told or 'nobody else is there'}")
        differences = "; ".join(self._agreement.differences.values())
        yield Finding("settings", not differences, differences or "agree in all processes")
        lacking = "; ".join(f"{one.component} {one.name} lacks {one.lacks}" for one in others if one.lacks)
        yield Finding("processes", not lacking, lacking or f"{len(others) + 1} are there, and all are ready")


def _of_clocks(clocks: Mapping[str, float]) -> Iterable[Finding]:
    """None of them decides anything, but logs and pages are read by them."""
    for name, ahead in clocks.items():
        told = f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} this gateway's"
        yield Finding(f"clock of {name}", abs(ahead) < _MOST_SKEW_SECONDS, told)


# Redis, from INFO.


def _redis_version(info: Mapping[str, Any]) -> Finding:
    name, version = info.get("server_name", "redis"), str(info.get("valkey_version") or info.get("redis_version", "0"))
    fit = _major(version) >= _OLDEST_REDIS
    return Finding("redis version", fit, f"{name} {version}" + ("" if fit else f"; {_OLDEST_REDIS} or newer is needed"))


def _persistence(info: Mapping[str, Any]) -> Finding:
    aof, saved = info.get("aof_enabled") == 1, info.get("rdb_last_bgsave_status") == "ok"
    if aof:
        fit = info.get("aof_last_write_status") == "ok"
        return Finding("redis persistence", fit, "append-only file" + ("" if fit else ", and its last write failed"))
    told = "snapshots only: a restart costs running turns a new attempt (nothing is lost: Postgres has it)"
    return Finding("redis persistence", saved, told if saved else f"{told}; the last snapshot failed")


def _eviction(info: Mapping[str, Any]) -> Finding:
    policy = str(info.get("maxmemory_policy", "unknown"))
    fit = policy == "noeviction" or not info.get("maxmemory")
    return Finding(
        "redis eviction",
        fit,
        policy if fit else f"{policy}: streams of live turns may vanish; set maxmemory-policy noeviction",
    )


def _memory(info: Mapping[str, Any]) -> Finding:
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if not most:
        return Finding("redis memory", True, f"{used >> 20} MiB used, without a limit (maxmemory 0)")
    return Finding(
        "redis memory", used < most * _FULL, f"{used >> 20} of {most >> 20} MiB used ({used * 100 // most} %)"
    )


def _role(info: Mapping[str, Any]) -> Finding:
    role, cluster = str(info.get("role", "unknown")), info.get("cluster_enabled") == 1
    told = f"{role}, {info.get('connected_slaves', 0)} replicas"
    if cluster:
        return Finding("redis role", False, f"{told}; a cluster, which is not supported")
    return Finding("redis role", role == "master", told if role == "master" else f"{told}: it takes no writes")


# Postgres, from its settings and views.


def _postgres_version(facts: Mapping[str, Any]) -> Finding:
    fit = _major(facts["version"]) >= _OLDEST_POSTGRES
    return Finding(
        "postgres version", fit, str(facts["version"]) + ("" if fit else f"; {_OLDEST_POSTGRES} or newer is needed")
    )


def _schema(facts: Mapping[str, Any]) -> Finding:
    missing = ", ".join(facts["missing"])
    return Finding(
        "postgres schema",
        not missing,
        f"missing: {missing}; run the migrations" if missing else f"current: {facts['schema']}",
    )


def _writable(facts: Mapping[str, Any]) -> Finding:
    if facts["standby"] or facts["read_only"]:
        return Finding("postgres writes", False, "it is a standby, or read-only: no turn is accepted")
    return Finding("postgres writes", True, "it takes writes")


def _durability(facts: Mapping[str, Any]) -> Finding:
    fit = facts["fsync"] == "on" and facts["synchronous_commit"] != "off"
    told = f"fsync {facts['fsync']}, synchronous_commit {facts['synchronous_commit']}"
    return Finding("postgres durability", fit, told if fit else f"{told}: an accepted turn may be lost in a crash")


def _connections(facts: Mapping[str, Any]) -> Finding:
    used, most = facts["connections"], facts["most_connections"]
    return Finding("postgres connections", used < most * _FULL, f"{used} of {most} in use")


def _transactions(facts: Mapping[str, Any]) -> Finding:
    seconds = facts["idle_seconds"] or 0.0
    told = f"one is idle for {seconds:.0f} s, and may hold locks" if seconds else "none is idle"
    return Finding("postgres transactions", seconds < 60, told)


_REDIS: tuple[Callable[[Mapping[str, Any]], Finding], ...] = (
    _redis_version,
    _persistence,
    _eviction,
    _memory,
    _role,
)
_POSTGRES: tuple[Callable[[Mapping[str, Any]], Finding], ...] = (
    _postgres_version,
    _schema,
    _writable,
    _durability,
    _connections,
    _transactions,
)


def _major(version: str) -> int:
    digits = version.split(".")[0].split(" ")[0]
    return int(digits) if digits.isdigit() else 0
