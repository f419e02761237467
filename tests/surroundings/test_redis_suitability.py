"""What is wrong with a Redis is told in one sentence, that says what to change, by looks that change nothing."""

import asyncio
import re
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from gateway.fanout.redis_wire import Address
from redis.asyncio import Redis
from sluiceway.errors import RedisRefuses
from sluiceway.redis.client import command, open_redis
from sluiceway.service.redis_suitability import COMMANDS, COMMANDS_OF_CLUSTER, CONTAINERS, PATTERNS, judge, unsuitable

from harness.clients.sse import replay
from harness.databases.valkey import Valkey
from harness.proxies.tls import Authority, tls_before
from tests.gateway.hub_app import Publisher, hub_server

pytestmark = pytest.mark.requirement("OP-12")
ROOT = Path(__file__).parents[2]
_PASSWORD = "a-password"


@pytest.fixture
async def limited(redis: Redis, valkey: Valkey) -> AsyncIterator[Redis]:
    """A client of the user `limited`, who may do everything so far."""
    await ask(redis, "ACL SETUSER limited reset on >a-password ~* &* +@all")
    async with open_redis(f"redis://limited:{_PASSWORD}@127.0.0.1:{valkey.port}/0", name="limited") as client:
        yield client
    await ask(redis, "ACL DELUSER limited")


async def ask(redis: Redis, words: str) -> Any:
    return await redis.execute_command(*words.split())  # type: ignore[no-untyped-call]


def names() -> set[str]:
    return {" ".join(one[:2]) if one[0] in CONTAINERS else one[0] for one in COMMANDS}


async def test_a_server_that_is_as_it_has_to_be_is_suitable_and_nothing_is_left_in_it(
    limited: Redis, redis: Redis
) -> None:
    assert await unsuitable(limited) is None
    assert await redis.dbsize() == 0


async def test_each_missing_right_is_named_as_it_has_to_be_granted(limited: Redis, redis: Redis) -> None:
    # A connection cannot be made without the name, which is said below; HELLO and AUTH need no right.
    for name in sorted(names() - {"CLIENT SETNAME"}):
        rule = name.lower().replace(" ", "|")
        await ask(redis, f"ACL SETUSER limited -{rule}")
        told = await unsuitable(limited)
        await ask(redis, f"ACL SETUSER limited +{rule}")
        assert told == f"the user of REDIS_URL lacks rights: ACL SETUSER … +{rule}"


async def test_several_missing_rights_and_patterns_are_one_sentence(limited: Redis, redis: Redis) -> None:
    await ask(redis, "ACL SETUSER limited -info -xadd resetkeys ~sw:*")
    assert await unsuitable(limited) == "the user of REDIS_URL lacks rights: ACL SETUSER … +info +xadd ~job_events:*"
    await ask(redis, "ACL SETUSER limited +info +xadd resetkeys %R~sw:* ~job_events:*")
    told = await unsuitable(limited)
    assert told is not None
    assert told.endswith("~sw:*")


async def test_a_user_who_may_not_even_connect_as_we_do_is_refused_and_says_why(limited: Redis, redis: Redis) -> None:
    await ask(redis, "ACL SETUSER limited -client")
    with pytest.raises(RedisRefuses, match=r"client\|setname"):
        await unsuitable(limited)


async def test_a_user_who_may_not_queue_commands_is_believed(limited: Redis, redis: Redis) -> None:
    await ask(redis, "ACL SETUSER limited -multi -xadd")
    assert await unsuitable(limited) is None


@pytest.mark.parametrize("refused", ["-hgetall", "-xadd", "resetkeys"])
async def test_a_right_that_is_taken_away_later_is_a_refusal_and_no_defect(
    limited: Redis, redis: Redis, refused: str
) -> None:
    await ask(redis, f"ACL SETUSER limited {refused}")
    one = {"-hgetall": ("HGETALL", "sw:x"), "-xadd": ("XADD", "sw:x", "*", "f", "v"), "resetkeys": ("GET", "sw:x")}
    with pytest.raises(RedisRefuses, match="NoPermission"):
        await command(limited, *one[refused])
    script = {"-hgetall": "return redis.call('HGETALL', 'sw:x')"}.get(
        refused, "return redis.call('XADD', 'sw:x', '*', 'f', 'v')"
    )
    with pytest.raises(RedisRefuses):
        await command(limited, "EVAL", script, 0)


async def test_a_wrong_password_is_a_refusal_that_does_not_repeat_it(
    redis: Redis, valkey: Valkey, limited: Redis
) -> None:
    async with open_redis(f"redis://limited:guessed@127.0.0.1:{valkey.port}/0", name="x") as client:
        with pytest.raises(RedisRefuses, match=r"WRONGPASS|invalid username-password") as refusal:
            await unsuitable(client)
    assert "guessed" not in str(refusal.value)


async def test_a_server_in_protected_mode_is_a_refusal_and_no_defect() -> None:
    """It says why it wants nobody of another machine. These tests have one machine."""

    async def protected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"-DENIED Running in protected mode because protected mode is enabled.\r\n")
        await writer.drain()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(protected, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for topology in ("redis", "redis+sentinel", "redis+cluster"):
            url = f"{topology}://127.0.0.1:{port}" + ("/chat/0" if "sentinel" in topology else "")
            async with open_redis(url, name="x") as client:
                with pytest.raises(RedisRefuses, match="protected mode"):
                    await unsuitable(client)


async def test_an_evicting_server_is_told_until_it_evicts_nothing(redis: Redis, limited: Redis) -> None:
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    told = await unsuitable(limited)
    await redis.config_set("maxmemory-policy", "noeviction")
    assert told is not None
    assert "(maxmemory-policy allkeys-lru)" in told
    assert told.endswith("set maxmemory-policy to noeviction")
    assert await unsuitable(limited) is None


async def test_a_replica_is_told_and_its_successor_is_found(valkey: Valkey, limited: Redis, tmp_path: Path) -> None:
    primary = Valkey(tmp_path, "primary")
    primary.start()
    try:
        valkey.follow(primary.port)
        assert await unsuitable(limited) == "REDIS_URL leads to a replica, which takes no writes: name the primary"
    finally:
        valkey.promote()
        primary.stop()
    await command(limited, "ACL", "SETUSER", "limited", "on", f">{_PASSWORD}", "~*", "&*", "+@all")
    assert await unsuitable(limited) is None


async def test_a_node_of_a_cluster_is_told(tmp_path: Path) -> None:
    node = Valkey(tmp_path, "node", cluster_enabled="yes")
    node.start()
    try:
        async with open_redis(node.url, name="x") as client:
            told = await unsuitable(client)
            assert told is not None
            assert told.startswith("REDIS_URL leads to a node of a cluster")
            with pytest.raises(RedisRefuses):  # what it answers meanwhile is no defect of ours either
                await command(client, "MGET", "a", "b")
    finally:
        node.stop()


def test_an_old_server_is_told_by_its_version() -> None:
    told = judge({"redis_version": "6.2.14", "role": "master", "maxmemory_policy": "noeviction"})
    assert told == "REDIS_URL leads to Redis 6.2.14: Redis 7.0 or newer, or Valkey, is needed"
    for version in ("7.0.15", "7.2.4", "8.2.1", "255.255.255", "unstable"):
        assert judge({"redis_version": version, "role": "master", "maxmemory_policy": "noeviction"}) is None


def test_every_command_of_the_code_is_looked_at() -> None:
    """A right that nobody looks at is one that is missed in silence."""
    of_cluster = {" ".join(one) for one in COMMANDS_OF_CLUSTER}
    assert commands_of_scripts() | commands_of_python() <= names() | of_cluster


def test_every_key_of_the_code_is_of_a_pattern_that_is_looked_at() -> None:
    source = (files("sluiceway") / "keys.py").read_text()
    literals = re.findall(r'f?"((?:sw|job_events):[^"]*)"', source)
    assert literals
    assert all(
        any(one.startswith(pattern.rstrip("*")) for pattern in PATTERNS) or one == "sw:agents" for one in literals
    )


def commands_of_scripts() -> set[str]:
    found: set[str] = set()
    for script in ROOT.glob("shared/src/sluiceway/lua/**/*.lua"):
        for name, sub in re.findall(r"redis\.p?call\('([A-Za-z]+)'(?:, '([A-Z]+)')?", script.read_text()):
            found.add(f"{name.upper()} {sub}" if name.upper() in CONTAINERS else name.upper())
    return found


def commands_of_python() -> set[str]:
    """Literals that begin a command, where we send one: `command(redis, "X"`, `pack("X"`, and tuples of them."""
    sent = r"(?:command\(\s*[\w.]+,|pack\(|execute\(|_group_read\(\s*[\w.]+,|\(\s*)\s*"
    begins = re.compile(sent + r'b?"([A-Z]{3,})(?: ([A-Z]+))?"(?:, b?"([A-Z]+)")?')
    unlooked = {"HELLO", "AUTH", "SELECT", "COUNT", "SENTINEL", "GET", "POST", "PATCH", "DELETE", "HEAD"}
    found: set[str] = set()
    for source in [*ROOT.glob("shared/src/**/*.py"), *ROOT.glob("services/*/src/**/*.py")]:
        text = source.read_text()
        if "redis" not in text or source.name == "redis_suitability.py":
            continue
        for name, attached, sub in begins.findall(text):
            if name in CONTAINERS:
                found.add(f"{name} {attached or sub}")
            elif name not in unlooked and f'"{name}"' in text:
                found.add(name)
        # Those that the hub has packed beforehand.
        for name, sub in re.findall(r"\*\d+\\r\\n\$\d+\\r\\n([A-Z]+)(?:\\r\\n\$\d+\\r\\n([A-Z]+))?", text):
            found.add(f"{name} {sub}" if name in CONTAINERS else name)
    return {name for name in found if name.partition(" ")[0] in _REDIS_WORDS}


# As the server itself lists them: other words in capitals are no commands.
_REDIS_WORDS = {one[0] for one in COMMANDS} | {
    "APPEND", "COPY", "EVAL", "EXPIRE", "FCALL", "HEXISTS", "HINCRBY", "HLEN", "HSETNX", "INCRBY", "LPUSH", "MGET",
    "MSET", "PERSIST", "PSETEX", "PUBLISH", "RENAME", "RPUSH", "SADD", "SCAN", "SETNX", "SMEMBERS", "SREM", "SUBSCRIBE",
    "TYPE", "UNLINK", "WAIT", "XREAD", "XSETID", "XTRIM", "ZCARD", "ZINCRBY", "ZPOPMIN", "ZRANGEBYSCORE", "ZRANK",
}  # fmt: skip


async def test_the_hub_believes_the_same_authority_and_shows_the_same_certificate_as_every_other_connection(
    redis: Redis, valkey: Valkey, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "authority")
    certificate, key = authority.certified("client")
    async with tls_before(valkey.port, authority) as port:
        url = f"rediss://127.0.0.1:{port}/0"
        known = f"{url}?ssl_ca_certs={authority.ca}&ssl_certfile={certificate}&ssl_keyfile={key}"
        async with open_redis(known, name="client") as client:
            assert await command(client, "PING")
        publisher = Publisher(redis, "stream")
        await publisher.start()
        await publisher.finish()
        async with hub_server(known) as server:
            assert (await replay(server.url("stream"))).types == ["start", "finish", "[DONE]"]
        assert Address.parse(f"{url}?ssl_cert_reqs=none").tls_context() is not None
