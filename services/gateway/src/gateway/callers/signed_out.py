"""Sign-ins of browsers that were ended before their time: signing out ends a cookie wherever it was copied to.

Guarantees: the gateway that was asked refuses it from then on, and the stream tokens that were made by it; every other
one does after its next `look`, which reads on in a list in Redis, so no request waits for anything. A gateway remembers
until the sign-in's own end, also where Redis is away or forgets, and tells Redis as soon as it is back.
Not guaranteed: that a gateway which starts after Redis was flushed knows of what was ended before; and more than the
newest MOST_KEPT, so that nobody who signs in and out all day fills a memory.
"""

import asyncio
import contextlib
import hashlib
import time

from redis.asyncio import Redis
from redis.exceptions import ResponseError
from sluiceway import keys
from sluiceway.errors import RedisUnavailable
from sluiceway.process.logs import get_logger
from sluiceway.redis.client import command

# The longest sign-in that can be set, see SESSION_HOURS.
_KEPT_MS = 90 * 24 * 3600 * 1000
MOST_KEPT = 100_000
_AT_ONCE = 1000
# Somebody waits for the answer.
_PATIENCE_SECONDS = 1.0


class SignedOut:
    def __init__(self, redis: Redis, most: int = MOST_KEPT) -> None:
        self._redis = redis
        self._most = most
        self._until: dict[str, float] = {}
        self._untold: dict[str, float] = {}
        self._seen = "0-0"

    def has(self, user_id: str | None, expires_at: float | None) -> bool:
        """Whether the sign-in of that user that would end then was ended."""
        return bool(self._until) and _id(user_id, expires_at) in self._until

    async def end(self, user_id: str | None, expires_at: float) -> None:
        """From here on. Never fails: where Redis is away the others hear of it later."""
        self._until[_id(user_id, expires_at)] = self._untold[_id(user_id, expires_at)] = expires_at
        self._forget()
        with contextlib.suppress(RedisUnavailable, ResponseError, TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._tell()

    async def look(self) -> None:
        """Hear of what was ended at other gateways. Raises RedisUnavailable, ResponseError."""
        await self._tell()
        page: list[tuple[bytes, dict[bytes, bytes]]] | None = None
        while page is None or page:
            page = await command(self._redis, "XRANGE", keys.SIGNED_OUT, f"({self._seen}", "+", "COUNT", _AT_ONCE)
            for entry_id, fields in page or ():
                self._seen = entry_id.decode()
                self._hear(self._seen, fields)
            self._forget()
        now = time.time()
        self._until = {name: until for name, until in self._until.items() if until > now}

    def _hear(self, entry_id: str, fields: dict[bytes, bytes]) -> None:
        """What nobody here has written is passed over: an error would end every gateway, for as long as it is kept."""
        try:
            self._until[fields[b"i"].decode()] = float(fields[b"u"])
        except (KeyError, ValueError):
            get_logger().error("signed_out_unreadable", entry_id=entry_id)

    def _forget(self) -> None:
        """The oldest, of too many."""
        for known in (self._until, self._untold):
            while len(known) > self._most:
                del known[next(iter(known))]

    async def _tell(self) -> None:
        for name, until in list(self._untold.items()):
            entry = ("i", name, "u", repr(until))
            await command(self._redis, "XADD", keys.SIGNED_OUT, "MAXLEN", "~", self._most, "*", *entry)
            await command(self._redis, "PEXPIRE", keys.SIGNED_OUT, _KEPT_MS)
            self._untold.pop(name, None)


def _id(user_id: str | None, expires_at: float | None) -> str:
    """No two sign-ins of one user end at the same moment, see `UserCookies.begun`."""
    return hashlib.sha256(f"{user_id}\x00{expires_at!r}".encode()).hexdigest()[:32]
