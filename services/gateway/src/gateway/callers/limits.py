"""What each caller may have of the limits in the settings: requests a minute, by caller and by address; newcomers an
hour, by address; messages a day, by caller; open streams, by caller and by address; how much
is stored, by caller.

Where a gateway serves one machine alone nothing is counted.
"""

from collections import Counter

from redis.asyncio import Redis
from sluiceway.store import Store

from gateway.api.problems import TooManyRequests, TooManyStreams
from gateway.callers.caller import Caller
from gateway.callers.stored import StoredBytes
from gateway.rates import Limit, Rates, Taken
from gateway.settings import Settings

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
# Behind a proxy that is not named in TRUSTED_PROXIES everybody comes from nowhere in particular.
_NOWHERE = "nowhere"
_AS_MANY_ADDRESSES = 10


class Limits:
    def __init__(self, settings: Settings, redis: Redis, store: Store) -> None:
        self.on = settings.auth_mode != "none"
        self._rates = Rates(redis)
        self._person = Limit("person", settings.max_requests_per_minute, _MINUTE)
        self._service = Limit("service", settings.max_requests_per_minute_per_key, _MINUTE)
        self._address = Limit("address", settings.max_requests_per_minute_per_address, _MINUTE)
        self._newcomers = Limit("newcomers", settings.max_newcomers_per_hour, _HOUR)
        self._from_nowhere = Limit("newcomers", settings.max_newcomers_per_hour * _AS_MANY_ADDRESSES, _HOUR)
        self._messages = Limit("messages", settings.max_messages_per_day, _DAY)
        self._stored = StoredBytes(settings.max_stored_bytes_per_user, store.sessions.stored_bytes)
        self._streams = OpenStreams(settings.max_streams_per_user, settings.max_streams_per_address)

    async def of_address(self, address: str | None) -> Taken | None:
        """Before it is known who calls: finding that out costs something, too. Raises TooManyRequests."""
        return await self._take(self._address, address)

    async def of_caller(self, caller: Caller) -> Taken | None:
        """Raises TooManyRequests."""
        if caller.kind == "nobody" or caller.cookie is not None:
            return None  # counted by address alone: who has just got a name has used none of it
        return await self._take(self._service if caller.kind == "service" else self._person, caller.user_id)

    async def of_newcomer(self, address: str | None) -> None:
        """A caller without a cookie has used no limit yet, so an address may bring only so many of them. Callers whose
        address is not known share the room of ten addresses. Raises TooManyRequests."""
        limit = self._newcomers if address is not None else self._from_nowhere
        await self._take(limit, address or _NOWHERE)

    async def of_message(self, caller: Caller) -> None:
        """One that is sent again counts again. Raises TooManyRequests, StorageFull, StoreUnavailable."""
        await self._take(self._messages, caller.user_id)
        if self.on:
            await self._stored.check(caller.user_id)

    async def _take(self, limit: Limit, who: str | None) -> Taken | None:
        if not self.on or who is None or limit.count == 0:
            return None
        taken = await self._rates.take(limit, who)
        if not taken.allowed:
            raise TooManyRequests(_SAID[limit.name], limit=limit.count, retry_after_seconds=taken.seconds)
        return taken

    def check_streams(self, caller: Caller) -> None:
        """Raises TooManyStreams."""
        if self.on:
            self._streams.check(caller)

    def opened(self, caller: Caller) -> None:
        """From here on, until `closed`, his stream counts."""
        if self.on:
            self._streams.add(caller, 1)

    def closed(self, caller: Caller) -> None:
        if self.on:
            self._streams.add(caller, -1)


_SAID = {
    "person": "You have asked too often within a minute.",
    "service": "This API key has asked too often within a minute.",
    "address": "From your address came too many requests within a minute.",
    "messages": "You have sent as many messages as one may within a day.",
    "newcomers": "Too many new people came within an hour.",
}


class OpenStreams:
    """Of this process."""

    def __init__(self, per_user: int, per_address: int) -> None:
        self._per_user = per_user
        self._per_address = per_address
        self._users: Counter[str] = Counter()
        self._addresses: Counter[str] = Counter()

    def check(self, caller: Caller) -> None:
        for counts, who, most in self._counted(caller):
            if most and counts[who] >= most:
                raise TooManyStreams(max_streams=most, retry_after_seconds=5)

    def add(self, caller: Caller, number: int) -> None:
        for counts, who, _ in self._counted(caller):
            counts[who] += number
            if counts[who] <= 0:
                del counts[who]

    def _counted(self, caller: Caller) -> list[tuple[Counter[str], str, int]]:
        both = (
            (self._users, caller.user_id, self._per_user),
            (self._addresses, caller.address, self._per_address),
        )
        return [(counts, who, most) for counts, who, most in both if who is not None]
