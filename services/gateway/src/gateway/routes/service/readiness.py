"""Whether a message would be accepted and answered, and if not, what is missing.

Guarantees: what a turn needs is asked as a turn would ask it: the hub's own connection, which streams come on; a write
to Redis; a lock that a write to Postgres takes. Consumers, runners, the model and the place of files are told in words
and do not count: without them messages are accepted and answered, or wait.
Liveness is another matter: `/healthz` asks nobody, or every gateway would be restarted when Redis is.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from redis.exceptions import ResponseError
from sluiceway import keys
from sluiceway.errors import RedisUnavailable, Unavailable
from sluiceway.process.settings import process_name
from sluiceway.redis.client import command
from sluiceway.service.agreement import HEARD_SECONDS, OtherProcess
from sluiceway.service.presence import count_live

from gateway.api.models.service import Check, Readiness
from gateway.state import Gateway

_Probe = Callable[[Gateway], Awaitable[Check]]
_PROBE_MS = 10_000
_LATE = "no answer within"
# Where a network drops what is sent there is no error to read.
_ADDRESSES = {"redis": "REDIS_URL", "postgres": "DATABASE_URL"}
_DROPPED = ": {} leads to one that is down or hangs, or a firewall or NetworkPolicy drops what is sent there"
_PROCESS = process_name()
# What Redis answers to a write that it does not take, in words.
_REFUSALS = {
    "OOM": "takes no writes: it is full (maxmemory)",
    "READONLY": "takes no writes: it is a read-only replica",
    "MISCONF": "takes no writes: it cannot save to its disk",
    "NOREPLICAS": "takes no writes: it has too few replicas",
    "NOPERM": "takes no writes: this user lacks the right (ACL)",
}


async def of_process(gateway: Gateway) -> Readiness:
    """What a load balancer wants to know: parts that all gateways share are not held against this one. Its own
    connection for streams is: others may have theirs."""
    streams = Check(ok=True, detail="connected")
    if not gateway.hub.up:
        redis = await _within_time(gateway, _redis_answers)
        streams = Check(ok=not redis.ok, detail=_NO_STREAMS if redis.ok else "Redis is away, for all gateways")
    return _verdict({"gateway": _not_draining(gateway), "streams": streams})


async def of_system(gateway: Gateway) -> Readiness:
    """Every part that a turn needs. Each asking takes connections that messages need, so all who ask at once share
    one: many of them alone would turn it red."""
    found = await gateway.readiness.ask(lambda: _ask_all(gateway))
    verdict = _verdict({"gateway": _not_draining(gateway), **found})
    return verdict.model_copy(update={"checks": verdict.checks | _told(gateway)})


async def broken(gateway: Gateway) -> str | None:
    """What holds up every turn, in words: Redis or Postgres, where one of them says that it does, or is away. One that
    is late may be on a busy machine, and is not blamed for that."""
    found = await gateway.readiness.ask(lambda: _ask_all(gateway))
    for name, told in (("redis", "Redis"), ("postgres", "Postgres")):
        check = found[name]
        if not check.ok and not check.detail.startswith(_LATE):
            return f"{told}: {check.detail}"
    return None


async def _ask_all(gateway: Gateway) -> dict[str, Check]:
    probes: dict[str, _Probe] = {
        "redis": _redis,
        "streams": _streams,
        "postgres": _postgres,
        "chat_workers": _chat_workers,
    }
    answers = await asyncio.gather(*(_within_time(gateway, probe, name) for name, probe in probes.items()))
    found = dict(zip(probes, answers, strict=True))
    if not found["redis"].ok and not found["chat_workers"].ok:
        # Nobody can say that he is there.
        found["chat_workers"] = Check(ok=False, detail="not known while Redis is away, or takes no writes")
    return found


def _verdict(checks: dict[str, Check]) -> Readiness:
    ready = all(check.ok for check in checks.values())
    return Readiness(status="ready" if ready else "not_ready", checks=checks)


def _not_draining(gateway: Gateway) -> Check:
    if gateway.drain.begun:
        return Check(ok=False, detail="shutting down")
    return Check(ok=True, detail="serving")


# A process that is frozen, or starved, says nothing either.
_NOBODY = f"none is running, or none was heard for {HEARD_SECONDS} s"

# What a turn needs.

_NO_STREAMS = "no connection for streams, though Redis answers: every stream would be refused"


async def _redis_answers(gateway: Gateway) -> Check:
    await command(gateway.redis, "PING")
    return Check(ok=True, detail="answers")


async def _redis(gateway: Gateway) -> Check:
    if unsuitable := _unsuitable(gateway, "redis"):
        return unsuitable
    await command(gateway.redis, "SET", keys.write_probe(_PROCESS), "1", "PX", _PROBE_MS)
    return Check(ok=True, detail="answers, and takes writes")


async def _streams(gateway: Gateway) -> Check:
    """On the connection that all streams of this process come on."""
    if not gateway.hub.up:
        raise RedisUnavailable("not connected: every stream would be refused")
    await gateway.hub.ask("PING")
    return Check(ok=True, detail="connected")


async def _postgres(gateway: Gateway) -> Check:
    if unsuitable := _unsuitable(gateway, "postgres"):
        return unsuitable
    if not await gateway.store.is_current():
        return Check(ok=False, detail="the schema is older than this version: migrations are missing")
    await gateway.store.check_writable(gateway.settings.check_timeout_seconds / 2)
    return Check(ok=True, detail="answers, takes writes, and its schema is current")


def _unsuitable(gateway: Gateway, part: str) -> Check | None:
    reason = gateway.surroundings.problems.get(part)
    return Check(ok=False, detail=reason) if reason else None


async def _chat_workers(gateway: Gateway) -> Check:
    live = await count_live(gateway.redis, keys.CHAT)
    if live > 0:
        return Check(ok=True, detail=f"{live} ready")
    lacking = _lacking(gateway, "chat-worker")
    return Check(ok=False, detail=f"none is ready: {lacking}" if lacking else f"{_NOBODY}: no message is answered")


async def _within_time(gateway: Gateway, probe: _Probe, name: str = "") -> Check:
    seconds = gateway.settings.check_timeout_seconds
    try:
        async with asyncio.timeout(seconds):
            return await probe(gateway)
    except TimeoutError:
        return Check(ok=False, detail=f"{_LATE} {seconds:g} s{_perhaps_dropped(name)}")
    except (Unavailable, ResponseError) as error:
        return Check(ok=False, detail=_in_words(error))


def _perhaps_dropped(name: str) -> str:
    return _DROPPED.format(_ADDRESSES[name]) if name in _ADDRESSES else ""


def _in_words(error: Unavailable | ResponseError) -> str:
    """What Redis refused, where it did; else what a part that is away said."""
    cause = error if isinstance(error, ResponseError) else error.__cause__
    told = f"{type(cause).__name__} {cause} {error}".upper().replace("OUTOFMEMORYERROR", "OOM")
    told = told.replace("NOPERMISSIONERROR", "NOPERM")
    return (
        next((words for code, words in _REFUSALS.items() if code in told), None) or str(error) or type(error).__name__
    )


# What is told, and does not count.


def _told(gateway: Gateway) -> dict[str, Check]:
    checks = {"settings": _settings(gateway)}
    for name, component, without in (
        ("completion_consumers", "completion-consumer", "results of tools wait, and nothing is repaired"),
        ("tool_runners", "tool-runner", "the model is offered no tools, and operations wait"),
    ):
        checks[name] = _processes(gateway, component, without)
    checks["model"] = _model(gateway)
    if gateway.objects.on:
        problem = gateway.files_watch.problem
        checks["files"] = Check(ok=problem is None, detail=problem or "where files are kept answers")
    return checks


def _settings(gateway: Gateway) -> Check:
    """While a new version is rolled out its settings may differ by right."""
    differences = gateway.agreement.differences
    detail = "; ".join(differences.values()) or "agree with those of the other processes"
    return Check(ok=not differences, detail=detail)


def _processes(gateway: Gateway, component: str, without: str) -> Check:
    there = _there(gateway, component)
    if there is None:
        return Check(ok=False, detail="not known while Redis is away")
    ready = sum(one.ready for one in there)
    if not there:
        return Check(ok=False, detail=f"{_NOBODY}: {without}")
    lacking = _lacking(gateway, component)
    return Check(ok=ready > 0, detail=f"{ready} of {len(there)} ready{f': {lacking}' if lacking else ''}")


def _model(gateway: Gateway) -> Check:
    """As chat workers see it."""
    there = _there(gateway, "chat-worker") or ()
    away = [one for one in there if "model: " in one.lacks]
    if not away:
        return Check(ok=True, detail="no chat worker misses it")
    return Check(ok=False, detail=f"{len(away)} of {len(there)} chat workers: {away[0].lacks}")


def _lacking(gateway: Gateway, component: str) -> str:
    return "; ".join(f"{one.name}: {one.lacks}" for one in _there(gateway, component) or () if one.lacks)


def _there(gateway: Gateway, component: str) -> list[OtherProcess] | None:
    """None: it is not known who is."""
    others: Iterable[OtherProcess] | None = gateway.agreement.others
    return None if others is None else [one for one in others if one.component == component]
