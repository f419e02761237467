"""Where the hub's wire leads: always to one address, or to the primary that Sentinels know."""

from typing import Protocol

from redis.exceptions import RedisError
from sluiceway.redis.following import FOLLOW_SECONDS
from sluiceway.redis.sentinel import Primary
from sluiceway.redis.url import RedisUrl

from gateway.fanout.redis_wire import Address


class Way(Protocol):
    """`only_primary`: a server that says that it is none is not taken. `look_seconds`: how often to ask whether it
    leads elsewhere by now; None: never."""

    only_primary: bool
    look_seconds: float | None

    async def address(self) -> Address:
        """Raises OSError, RedisError."""
        ...

    async def leads_elsewhere(self, address: Address) -> bool: ...

    async def close(self) -> None: ...


class FixedWay:
    only_primary = False
    look_seconds: float | None = None

    def __init__(self, address: Address) -> None:
        self._address = address

    async def address(self) -> Address:
        return self._address

    async def leads_elsewhere(self, address: Address) -> bool:
        return address != self._address

    async def close(self) -> None:
        pass


class PrimaryWay:
    only_primary = True
    look_seconds: float | None = FOLLOW_SECONDS

    def __init__(self, primary: Primary) -> None:
        self._primary = primary

    async def address(self) -> Address:
        return Address.parse(self._primary.url_of(await self._primary.find()))

    async def leads_elsewhere(self, address: Address) -> bool:
        """Not as long as nobody says where else."""
        try:
            return await self.address() != address
        except (OSError, RedisError):
            return False

    async def close(self) -> None:
        await self._primary.close()


def way_of(url: str) -> Way:
    """Raises ValueError."""
    named = RedisUrl.parse(url)
    return PrimaryWay(Primary(named)) if named.topology == "sentinel" else FixedWay(Address.parse(url))
