"""How much of conversations one caller may have stored.

Guarantees: what is counted is what Postgres keeps of his messages, in bytes; after he has deleted some he may go on
within a minute. Not guaranteed: that he is stopped at the byte: he is looked at once a minute, by each gateway.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from gateway.api.problems import StorageFull

_FRESH_SECONDS = 60.0
_MOST_KNOWN = 20_000


class StoredBytes:
    """`count`: of a user, by the store. `most`: 0 is no limit."""

    def __init__(
        self, most: int, count: Callable[[str], Awaitable[int]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._count = count
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, int]] = OrderedDict()

    async def check(self, user_id: str | None) -> None:
        """Raises StorageFull, StoreUnavailable."""
        if user_id is None or self._most == 0:
            return
        until, stored = self._known.get(user_id, (0.0, 0))
        if self._clock() >= until:
            stored = await self._count(user_id)
            self._known[user_id] = self._clock() + _FRESH_SECONDS, stored
            self._known.move_to_end(user_id)
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        if stored >= self._most:
            raise StorageFull(max_stored_bytes=self._most, stored_bytes=stored)
