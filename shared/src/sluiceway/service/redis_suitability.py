"""What has to be true of the Redis that REDIS_URL leads to: a primary of its own, or the primaries of a cluster, new
enough, that evict nothing and let us do all that we do.

Each finding is one sentence that says what a person has to change. Rights are found out by MULTI … DISCARD: the server
judges each command as it is queued, and carries none of them out. A user without a right to MULTI is believed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import NoPermissionError, ResponseError

from sluiceway import keys
from sluiceway.redis.client import Pool, cluster_primaries, command, redis_errors
from sluiceway.redis.cluster import ClusterRedis

_OLDEST = (7, 0)
_KEPT = "noeviction"
_SECTIONS = ("server", "replication", "memory", "cluster")

_KEY, _ID = keys.SETTINGS, "0-1"
# Everything that is sent to Redis, by ourselves or by a script, once. No blocking read is: it would not be queued.
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("CLIENT", "SETNAME", "sluiceway"),
    ("CLIENT", "TRACKING", "ON"),
    ("DEL", _KEY),
    ("EVAL", "return 1", "0"),
    ("EVALSHA", "0" * 40, "0"),
    ("EXISTS", _KEY),
    ("GET", _KEY),
    ("HDEL", _KEY, "f"),
    ("HEXISTS", _KEY, "f"),
    ("HGET", _KEY, "f"),
    ("HGETALL", _KEY),
    ("HINCRBY", _KEY, "f", "1"),
    ("HMGET", _KEY, "f"),
    ("HSET", _KEY, "f", "v"),
    ("INFO", "replication"),
    ("LLEN", _KEY),
    ("LPOP", _KEY),
    ("LPOS", _KEY, "v"),
    ("LPUSH", _KEY, "v"),
    ("LRANGE", _KEY, "0", "0"),
    ("MEMORY", "USAGE", _KEY),
    ("PEXPIRE", _KEY, "1"),
    ("PING",),
    ("PTTL", _KEY),
    ("ROLE",),
    ("RPUSH", _KEY, "v"),
    ("SCAN", "0"),
    ("SCRIPT", "LOAD", "return 1"),
    ("SET", _KEY, "v"),
    ("TIME",),
    ("WAIT", "0", "1"),
    ("XACK", _KEY, "g", _ID),
    ("XADD", _KEY, "*", "f", "v"),
    ("XAUTOCLAIM", _KEY, "g", "c", "1", _ID),
    ("XCLAIM", _KEY, "g", "c", "1", _ID),
    ("XDEL", _KEY, _ID),
    ("XGROUP", "CREATE", _KEY, "g", "0"),
    ("XGROUP", "DELCONSUMER", _KEY, "g", "c"),
    ("XINFO", "CONSUMERS", _KEY, "g"),
    ("XINFO", "GROUPS", _KEY),
    ("XINFO", "STREAM", _KEY),
    ("XLEN", _KEY),
    ("XPENDING", _KEY, "g"),
    ("XRANGE", _KEY, "-", "+"),
    ("XREAD", "STREAMS", _KEY, _ID),
    ("XREADGROUP", "GROUP", "g", "c", "STREAMS", _KEY, ">"),
    ("XREVRANGE", _KEY, "+", "-"),
    ("ZADD", _KEY, "1", "m"),
    ("ZCOUNT", _KEY, "0", "1"),
    ("ZRANGE", _KEY, "0", "1"),
    ("ZRANGEBYSCORE", _KEY, "0", "1"),
    ("ZRANK", _KEY, "m"),
    ("ZREM", _KEY, "m"),
    ("ZREMRANGEBYSCORE", _KEY, "0", "1"),
    ("ZSCORE", _KEY, "m"),
)
# What comes to that with a cluster.
COMMANDS_OF_CLUSTER: tuple[tuple[str, ...], ...] = (("ASKING",), ("CLUSTER", "INFO"), ("CLUSTER", "SLOTS"))
# Commands whose subcommands are granted one by one.
CONTAINERS = frozenset({"CLIENT", "CLUSTER", "MEMORY", "SCRIPT", "XGROUP", "XINFO"})
# The patterns that all our keys match, with a key of each.
PATTERNS: Mapping[str, str] = {"sw:*": keys.AGENT_STREAMS, "job_events:*": keys.job_events("0")}


async def unsuitable(redis: Redis) -> str | None:
    """The first thing that is wrong, in one sentence; None: nothing. Raises RedisUnavailable, RedisRefuses."""
    if isinstance(redis, ClusterRedis):
        return await _unsuitable_cluster(redis)
    found = await lacking_rights(redis)
    if found is not None:
        return found
    told = await info(redis)
    found = judge(told)
    if found is not None and told.get("role") == "slave" and isinstance(redis.connection_pool, Pool):
        await redis.connection_pool.drop_idle()  # the way to its successor is a new connection
    return found


async def _unsuitable_cluster(redis: ClusterRedis) -> str | None:
    """The first thing that is wrong with any of its primaries."""
    for client in await cluster_primaries(redis):
        found = await lacking_rights(client, COMMANDS_OF_CLUSTER) or judge(await info(client), of_cluster=True)
        if found is not None:
            return found
    return None


async def info(redis: Redis, *more_sections: str) -> dict[str, str]:
    """What the server says of itself, in the sections that are judged and those. Raises RedisUnavailable."""
    try:
        told = await command(redis, "INFO", *_SECTIONS, *more_sections)
    except ResponseError:  # one section at a time, before 7.0
        told = await command(redis, "INFO")
    return {str(name): str(value) for name, value in told.items()}


def judge(told: Mapping[str, str], *, of_cluster: bool = False) -> str | None:
    """The first thing that INFO says against this server, in one sentence."""
    return next(iter(problems(told, of_cluster=of_cluster).values()), None)


def problems(told: Mapping[str, str], *, of_cluster: bool = False) -> dict[str, str]:
    """All that INFO says against this server, a sentence for each rule that it breaks. `of_cluster`: it is to be a node
    of one."""
    found = {name: rule(told) for name, rule in RULES.items() if not (of_cluster and name == "cluster")}
    return {name: sentence for name, sentence in found.items() if sentence is not None}


def _cluster(told: Mapping[str, str]) -> str | None:
    if told.get("cluster_enabled") != "1":
        return None
    return "REDIS_URL leads to a node of a cluster, which splits the keys: begin it with redis+cluster://"


def _old(told: Mapping[str, str]) -> str | None:
    if _version(told) >= _OLDEST:
        return None
    return f"REDIS_URL leads to Redis {told['redis_version']}: Redis 7.0 or newer, or Valkey, is needed"


def _evicting(told: Mapping[str, str]) -> str | None:
    """Also without a limit of memory: one that is set later would take streams away in silence."""
    if told.get("maxmemory_policy", _KEPT) == _KEPT:
        return None
    return (
        f"Redis evicts keys when its memory is full (maxmemory-policy {told['maxmemory_policy']}), and with them"
        f" answers that are running: set maxmemory-policy to {_KEPT}"
    )


def _replica(told: Mapping[str, str]) -> str | None:
    if told.get("role") != "slave":
        return None
    return "REDIS_URL leads to a replica, which takes no writes: name the primary"


RULES: Mapping[str, Callable[[Mapping[str, str]], str | None]] = {
    "cluster": _cluster,
    "version": _old,
    "eviction": _evicting,
    "role": _replica,
}


def _version(told: Mapping[str, str]) -> tuple[int, ...]:
    words = told.get("redis_version", "").split(".")[:2]
    return tuple(int(word) for word in words) if all(word.isdecimal() for word in words) else _OLDEST


async def lacking_rights(redis: Redis, more: Sequence[tuple[str, ...]] = ()) -> str | None:
    """What the user may not do that we do, in one sentence. Raises RedisUnavailable, RedisRefuses."""
    wanted = (*COMMANDS, *more)
    reads = [("XRANGE", key, "-", "+") for key in PATTERNS.values()]
    writes = [("XADD", key, "*", "f", "v") for key in PATTERNS.values()]
    answers = await _judged(redis, [*wanted, *reads, *writes])
    if answers is None:
        return None
    refused, keys_refused = answers[: len(wanted)], answers[len(wanted) :]
    lacking = [_name(one) for one, answer in zip(wanted, refused, strict=True) if _denies_command(answer)]
    patterns = dict.fromkeys(
        pattern for pattern, answer in zip([*PATTERNS, *PATTERNS], keys_refused, strict=True) if _denies_key(answer)
    )
    return _sentence(lacking, patterns)


def _sentence(lacking: Sequence[str], patterns: Iterable[str]) -> str | None:
    grants = [f"+{name.lower().replace(' ', '|')}" for name in dict.fromkeys(lacking)]
    grants += [f"~{pattern}" for pattern in patterns]
    return f"the user of REDIS_URL lacks rights: ACL SETUSER … {' '.join(grants)}" if grants else None


def _name(one: Sequence[str]) -> str:
    return " ".join(one[:2]) if one[0] in CONTAINERS else one[0]


def _denies_command(answer: Any) -> bool:
    return isinstance(answer, NoPermissionError) and not _denies_key(answer)


def _denies_key(answer: Any) -> bool:
    return isinstance(answer, NoPermissionError) and "key" in str(answer).split("'")[0]


async def _judged(redis: Redis, many: Sequence[Sequence[str]]) -> list[Any] | None:
    """What the server says of each command as it queues it. None where it does not let us queue any."""
    pool = redis.connection_pool
    async with redis_errors(redis):
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            if isinstance((await _answers(connection, [("MULTI",)]))[0], ResponseError):
                return None
            *answers, discarded = await _answers(connection, [*many, ("DISCARD",)])
            if isinstance(discarded, ResponseError):
                await connection.disconnect(nowait=True)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)
    return answers


async def _answers(connection: AbstractConnection, many: Sequence[Sequence[str]]) -> list[Any]:
    await connection.send_packed_command(connection.pack_commands(many))
    return [await _answer(connection) for _ in many]


async def _answer(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error
