"""One round of the reconciler: what it did, what failed, and whether it may continue.

Guarantees
- What goes wrong with one thing, or with one kind of things, keeps the others neither from this round nor from the next
  ones: it is logged with its id, counted, and left out for a while.
- A round ends: each kind has its number of things and its time; the rest is the next round's. So it is with a Redis
  that hangs: what is left is not begun, as each kind would wait for it again.
- Nothing is begun any more once the process does not lead.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from sluiceway.errors import RedisUnavailable, SluicewayError, StoreSlow, Unavailable
from sluiceway.process.logs import bound, get_logger, joined

from completion_consumer.metrics import Metrics
from completion_consumer.reconciler.quarantine import Quarantine

T = TypeVar("T")
Key = TypeVar("Key", str, int)

_KIND_SECONDS = 10
_ONE_SECONDS = 15
# For as long as some statements wait for a lock: two locked rows must not take turns in front of all others.
_LOCKED_SECONDS = 30
# More than one command's timeout: the second was no chance.
_HUNG_SECONDS = 6


class LeadershipLost(SluicewayError):
    """Another process leads by now, or will in a moment."""


class Round:
    def __init__(self, leads: Callable[[], bool], quarantined: Quarantine, metrics: Metrics) -> None:
        self._leads = leads
        self._quarantine = quarantined
        self._metrics = metrics
        self._log = get_logger()
        self.done: Counter[str] = Counter()
        self.errors = 0
        self.away: Unavailable | None = None
        self._hung_seconds = 0.0

    async def part(self, kind: str, look: Callable[["Round"], Awaitable[None]]) -> None:
        """Look at one kind of things. Raises LeadershipLost, nothing else."""
        self._check()
        if self._hung_seconds > _HUNG_SECONDS:
            return
        began = time.monotonic()
        try:
            await look(self)
        except Unavailable as error:
            self.away = error
            if isinstance(error, RedisUnavailable):
                self._hung_seconds += time.monotonic() - began
        except LeadershipLost:
            raise
        except Exception:  # noqa: BLE001 - as at the message boundary: whatever it was, the other kinds are looked at
            self._failed(kind)
            self._log.exception("round_failed", kind=kind)

    async def each(self, kind: str, things: Mapping[Key, T], do: Callable[[T], Awaitable[str | None]]) -> None:
        """Do it for each, one after the other; `do` answers what it did, for the count, if it did anything.

        Raises LeadershipLost, and Unavailable where something we stand on is away.
        """
        quarantined, ends = self._quarantine.of(kind), time.monotonic() + _KIND_SECONDS
        for key, thing in things.items():
            if key in quarantined:
                continue
            if time.monotonic() > ends:
                return
            self._check()
            with bound(**_joined(thing)):
                await self._one(kind, key, do(thing))

    def quarantined_ids(self, kind: str) -> list[str]:
        """What is left out now."""
        return [str(key) for key in self._quarantine.of(kind)]

    def leave_out(self, kind: str, key: str | int, seconds: float) -> None:
        """Leave it out for so long."""
        self._quarantine.leave_out(kind, key, seconds)

    def count(self, what: str, number: int = 1) -> None:
        self.done[what] += number
        self._metrics.repaired.labels(what).inc(number)

    async def _one(self, kind: str, key: str | int, doing: Awaitable[str | None]) -> None:
        try:
            async with asyncio.timeout(_ONE_SECONDS):
                did = await doing
        except StoreSlow:
            # A row that somebody frozen has locked looks like this: the others come before it then.
            self._quarantine.leave_out(kind, key, _LOCKED_SECONDS)
            raise
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - as at the message boundary: whatever it was, the next one is looked at
            self._quarantine.failed(kind, key)
            self._failed(kind)
            self._log.exception("repair_failed", kind=kind, id=key)
        else:
            if did is not None:
                self.count(did)

    def _failed(self, kind: str) -> None:
        self.errors += 1
        self._metrics.errors.labels(kind).inc()

    def _check(self) -> None:
        if not self._leads():
            raise LeadershipLost


def _joined(thing: object) -> dict[str, str]:
    """Of a turn or operation, or of what is known of one."""
    found = thing[0] if isinstance(thing, tuple) and thing else thing
    found = getattr(found, "task", found)
    return joined(getattr(found, "traceparent", None), getattr(found, "user_id", None))
