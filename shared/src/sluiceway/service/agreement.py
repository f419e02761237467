"""Settings that must be the same in every process: each says its own in Redis, and compares them with the others'.

Guarantees: a difference is logged as an error, once, and is in the readiness detail for as long as it lasts, by the
name of the setting, with both values and the process that has the other one. Of secrets only a keyed hash leaves the
process, and no value is told. A process that ended is not compared with for longer than a few seconds. Along with its
settings each process says its version, what it lacks, and how wrong its clock is, so whoever takes part knows of all
others (`others`).
Not guaranteed: that anything stops. A new version that changes such a setting is deployed pod by pod, and is ready
while the pods of the old one go.
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import SecretStr
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from sluiceway import keys
from sluiceway.errors import RedisUnavailable
from sluiceway.process.logs import get_logger
from sluiceway.process.metrics import version_of
from sluiceway.process.settings import CommonSettings
from sluiceway.redis.client import command, server_time_ms
from sluiceway.scripts import Argument, Scripts

_AGREED = ("live_ttl_seconds", "retention_seconds", "lease_seconds", "queue_partitions")
_AGREED_SECRETS = ("webhook_secrets",)
# Texts of which no value is told, as they may name an account, or customers.
_AGREED_PLACES = ("files_url", "org_weights")
# What a process says beside its settings.
_VERSION, _LACKS, _READY, _POOL = "(version)", "(lacks)", "(ready)", "(pool)"
_PERIOD_SECONDS = 2.0
# What this process lacks changes sooner, above all as it starts.
_LOOK_SECONDS = 0.2
MOST_SKEW_SECONDS = 5.0
"""By so much clocks may differ before somebody is told. They decide nothing, but logs and pages are read by them."""
HEARD_SECONDS = 7
"""So long a process that says nothing counts as one that is there."""
_LEAVE_SECONDS = 1
# Tells this use of a secret from every other that it is put to.
_PURPOSE = b"sluiceway settings agreement v1"


@dataclass(frozen=True, slots=True)
class OtherProcess:
    """One that takes part. `lacks`: what is wrong with it, in words; empty: nothing, or its version does not
    say. `ready`: it works all the same, as its own probe says. `pool`: how many connections to Postgres it may have; 0:
    it does not say."""

    component: str
    name: str
    version: str
    lacks: str
    lease_seconds: float | None
    pool: int = 0
    ready: bool = True


class Agreement:
    """One process's part. `run` is its one task."""

    def __init__(
        self,
        redis: Redis,
        process: str,
        settings: CommonSettings,
        lacks: Callable[[], Mapping[str, str]] = dict,
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        """`process`: its component, a space, and what a person finds it by, unique among living processes. `lacks`:
        what is wrong with it, by part. `ready`: whether it works all the same."""
        self._redis = redis
        self._scripts = Scripts(redis)
        self._process = process
        self._values = {**_values(settings), **_fingerprints(settings)}
        self._log = get_logger()
        self._lacks = lacks
        self._ready = ready
        self._clock: dict[str, str] = {}
        self.pool = settings.database_pool_size
        self.pooled = settings.database_direct_url is not None
        self.differences: Mapping[str, str] = {}
        self.others: Sequence[OtherProcess] | None = None

    @property
    def itself(self) -> OtherProcess:
        """As the others see this process."""
        return _other(self._process, self._said())

    @property
    def warnings(self) -> dict[str, str]:
        """For the readiness detail: what differs, in one sentence each; nothing: all agree."""
        return {"settings": "; ".join(self.differences.values())} if self.differences else {}

    async def run(self) -> None:
        """Compare until cancelled; then say no more."""
        try:
            while True:
                told = self._news()
                try:
                    await self.compare()
                except RedisUnavailable:
                    self.others = None  # what stands on Redis says so
                except ResponseError as error:  # no rights to the key, for one: the process works all the same
                    self._log.warning("settings_not_compared", reason=str(error))
                await self._pause(told)
        finally:
            await asyncio.shield(self._leave())

    async def _pause(self, told: tuple[bool, frozenset[str]]) -> None:
        """Until it is time, or this process lacks something else than it has said."""
        for _ in range(round(_PERIOD_SECONDS / _LOOK_SECONDS)):
            await asyncio.sleep(_LOOK_SECONDS)
            if self._news() != told:
                return

    def _news(self) -> tuple[bool, frozenset[str]]:
        """What is worth a word before it is time. Not the words themselves: they may tell seconds."""
        return self._ready(), frozenset(self._lacks())

    async def compare(self) -> None:
        """Say what this process has, and compare it with the others'. Raises RedisUnavailable."""
        asked = time.time()
        told = await server_time_ms(self._redis) / 1000
        self._clock = _skew(asked, told, time.time())
        arguments: list[Argument] = [self._process, json.dumps(self._said()), 1000 * HEARD_SECONDS]
        flat = await self._scripts.run("service/compare_settings", [keys.SETTINGS], arguments)
        others = {_text(name): _read(values) for name, values in zip(flat[::2], flat[1::2], strict=True)}
        self.others = [_other(name, values) for name, values in sorted(others.items())]
        found = dict(self._compared(others))
        for setting, difference in found.items():
            if difference != self.differences.get(setting):
                self._log.error("settings_disagree", setting=setting, reason=difference)
        if self.differences and not found:
            self._log.info("settings_agree")
        self.differences = found

    def _said(self) -> Mapping[str, str]:
        lacks = {_LACKS: "; ".join(f"{part}: {told}" for part, told in {**self._lacks(), **self._clock}.items())}
        version, ready = version_of(self._process.partition(" ")[0]), "yes" if self._ready() else "no"
        return self._values | {_VERSION: version, _POOL: str(self.pool), _READY: ready} | lacks

    def _compared(self, others: Mapping[str, Mapping[str, str]]) -> Iterable[tuple[str, str]]:
        """By setting, the difference with the first process that has another value."""
        for name, own in self._values.items():
            for process, values in sorted(others.items()):
                theirs = values.get(name, own)
                if theirs != own:
                    yield name.upper(), _difference(name, own, theirs, process)
                    break

    async def _leave(self) -> None:
        with contextlib.suppress(RedisUnavailable, ResponseError, TimeoutError):  # it expires by itself
            async with asyncio.timeout(_LEAVE_SECONDS):
                await command(self._redis, "HDEL", keys.SETTINGS, self._process)


def _skew(asked: float, told: float, answered: float) -> dict[str, str]:
    """Nothing where an answer that came late can explain it. Redis's clock was `told` at some moment between."""
    ahead, uncertain = (asked + answered) / 2 - told, (answered - asked) / 2
    if abs(ahead) - uncertain < MOST_SKEW_SECONDS:
        return {}
    which = "ahead of" if ahead > 0 else "behind"
    return {"clock": f"{abs(ahead):.0f} s {which} Redis's: set it (NTP), as logs and times shown are wrong by that"}


def _difference(name: str, own: str, theirs: str, process: str) -> str:
    if name in (*_AGREED_SECRETS, *_AGREED_PLACES):
        return f"{name.upper()} differs from that of {process}"
    return f"{name.upper()} is {own} here, and {theirs} at {process}"


def _values(settings: CommonSettings) -> dict[str, str]:
    """A service that has no such setting says nothing of it."""
    return {name: f"{getattr(settings, name):g}" for name in _AGREED if name in type(settings).model_fields}


def _fingerprints(settings: CommonSettings) -> dict[str, str]:
    """Of secrets, a hash with each of them as its key; one that is not set is not compared."""
    found: dict[str, Sequence[SecretStr]] = {name: getattr(settings, name, ()) for name in _AGREED_SECRETS}
    found |= {name: [SecretStr(getattr(settings, name))] for name in _AGREED_PLACES if hasattr(settings, name)}
    return {name: ",".join(map(_fingerprint, secrets)) for name, secrets in found.items() if secrets}


def _fingerprint(secret: SecretStr) -> str:
    return hmac.digest(secret.get_secret_value().encode(), _PURPOSE, hashlib.sha256).hex()[:16]


def _other(process: str, values: Mapping[str, str]) -> OtherProcess:
    component, _, name = process.partition(" ")
    lease = values.get("lease_seconds")
    pool = values.get(_POOL, "")
    return OtherProcess(
        component,
        name,
        values.get(_VERSION, ""),
        values.get(_LACKS, ""),
        float(lease) if lease is not None else None,
        int(pool) if pool.isdecimal() else 0,
        # A version that does not say lists nothing but what it needs, or hardly anything else.
        values[_READY] == "yes" if _READY in values else not values.get(_LACKS),
    )


def _read(values: bytes) -> Mapping[str, str]:
    """Nothing, where a later version says it in another way."""
    try:
        found = json.loads(values)
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _text(name: bytes) -> str:
    return name.decode(errors="replace")
