"""Whether a message would be accepted and answered, and if not, what is missing.

Liveness is another matter: `/healthz` asks nobody, or every gateway would be restarted when Redis is.
"""

import asyncio
from collections.abc import Awaitable, Callable

from sluiceway import keys
from sluiceway.errors import Unavailable
from sluiceway.redis_client import command
from sluiceway.service.presence import count_live

from gateway.api.models import Check, Readiness
from gateway.state import Gateway

_Probe = Callable[[Gateway], Awaitable[Check]]


async def of_process(gateway: Gateway) -> Readiness:
    """What a load balancer wants to know: parts that all gateways share are not held against this one."""
    return _verdict({"gateway": _not_draining(gateway)})


async def of_system(gateway: Gateway) -> Readiness:
    """Every part that a turn needs. Each asking takes connections that messages need, so all who ask at once share
    one: many of them alone would turn it red."""
    found = await gateway.readiness.ask(lambda: _ask_all(gateway))
    verdict = _verdict({"gateway": _not_draining(gateway), **found})
    return verdict.model_copy(update={"checks": {**verdict.checks, "settings": _settings(gateway)}})


async def _ask_all(gateway: Gateway) -> dict[str, Check]:
    probes: dict[str, _Probe] = {"redis": _redis, "postgres": _postgres, "chat_workers": _chat_workers}
    answers = await asyncio.gather(*(_within_time(gateway, probe) for probe in probes.values()))
    return dict(zip(probes, answers, strict=True))


def _verdict(checks: dict[str, Check]) -> Readiness:
    ready = all(check.ok for check in checks.values())
    return Readiness(status="ready" if ready else "not_ready", checks=checks)


def _settings(gateway: Gateway) -> Check:
    """Told, and not held against the system: while a new version is rolled out its settings may differ by right."""
    differences = gateway.agreement.differences
    detail = "; ".join(differences.values()) or "agree with those of the other processes"
    return Check(ok=not differences, detail=detail)


def _not_draining(gateway: Gateway) -> Check:
    if gateway.drain.begun:
        return Check(ok=False, detail="shutting down")
    return Check(ok=True, detail="serving")


async def _redis(gateway: Gateway) -> Check:
    await command(gateway.redis, "PING")
    return _unsuitable(gateway, "redis") or Check(ok=True, detail="answers")


async def _postgres(gateway: Gateway) -> Check:
    if unsuitable := _unsuitable(gateway, "postgres"):
        return unsuitable
    if not await gateway.store.is_current():
        return Check(ok=False, detail="the schema is older than this version: migrations are missing")
    return Check(ok=True, detail="answers, and its schema is current")


def _unsuitable(gateway: Gateway, part: str) -> Check | None:
    reason = gateway.surroundings.problems.get(part)
    return Check(ok=False, detail=reason) if reason else None


async def _chat_workers(gateway: Gateway) -> Check:
    live = await count_live(gateway.redis, keys.CHAT)
    return Check(ok=live > 0, detail=f"{live} ready")


async def _within_time(gateway: Gateway, probe: _Probe) -> Check:
    seconds = gateway.settings.check_timeout_seconds
    try:
        async with asyncio.timeout(seconds):
            return await probe(gateway)
    except TimeoutError:
        return Check(ok=False, detail=f"no answer within {seconds:g} s")
    except Unavailable as error:
        return Check(ok=False, detail=error.detail)
