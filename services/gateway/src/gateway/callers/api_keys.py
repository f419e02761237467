"""API keys: programs that show one as `x-api-key`, each with a name and scopes.

Keys are made by `sluicewayctl keys create` and live in Postgres, as the SHA-256 of 256 random bits: whoever reads the
table has no key. Those of the setting API_KEYS are there from the first start on, with every scope but `turns`. A
revoked or expired key is refused within CACHE_SECONDS. While Postgres is away, a key that was used before is believed.
"""

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sluiceway.errors import StoreUnavailable
from sluiceway.ids import owner_in_org
from sluiceway.store.people.api_keys import ApiKey, ApiKeyStore

from gateway.api.problems import InvalidApiKey
from gateway.callers.caller import SCOPES, SERVICE_PREFIX, SETTINGS_KEY, Caller, KeyScope

PREFIX = "swk_"
CACHE_SECONDS = 15
_MOST_CACHED = 4096
_LONGEST_CHARS = 512
_BOOTSTRAP_SCOPES: frozenset[KeyScope] = frozenset(scope for scope in SCOPES if scope != "turns")


@dataclass(frozen=True, slots=True)
class _Looked:
    """What Postgres said of a key, and when."""

    key: ApiKey | None
    at: float


def new_key() -> tuple[str, bytes]:
    """A key, which is shown once, and its digest, which is kept."""
    key = PREFIX + secrets.token_urlsafe(32)
    return key, digest(key)


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("latin-1", errors="replace")).digest()


class ApiKeys:
    def __init__(self, store: ApiKeyStore, bootstrap: Sequence[str], *, orgs: bool) -> None:
        """`orgs`: this gateway tells organisations apart. One that does not cannot keep a key of one to it."""
        self._store = store
        self._orgs = orgs
        # UTF-8, as settings are text; of one length, so that comparing takes the same time for every guess.
        self._bootstrap = [hashlib.sha256(key.encode()).digest() for key in bootstrap]
        self._cache: OrderedDict[bytes, _Looked] = OrderedDict()

    async def find(self, shown: str) -> Caller:
        """Whose key it is, as Starlette reads a header. Raises InvalidApiKey, StoreUnavailable."""
        found = digest(shown[:_LONGEST_CHARS])
        known = [hmac.compare_digest(found, each) for each in self._bootstrap]
        if any(known):
            return Caller(SETTINGS_KEY, "service", _BOOTSTRAP_SCOPES)
        # No query for what cannot be one of ours.
        key = await self._look_up(found) if shown.startswith(PREFIX) else None
        if key is None or not key.is_good(datetime.now(UTC)):
            raise InvalidApiKey
        if key.org is not None and not self._orgs:
            raise InvalidApiKey("This key is of an organisation, and this gateway has none: JWT_ORG_CLAIM is not set.")
        name = SERVICE_PREFIX + key.name
        owner = name if key.org is None else owner_in_org(key.org, name)
        scopes = frozenset(scope for scope in SCOPES if scope in key.scopes)
        return Caller(owner, "service", scopes, expires_at=_seconds(key.expires_at))

    async def _look_up(self, found: bytes) -> ApiKey | None:
        cached = self._cache.get(found)
        if cached is not None and time.monotonic() - cached.at < CACHE_SECONDS:
            return cached.key
        try:
            key = await self._store.find(found)
        except StoreUnavailable:
            if cached is None or cached.key is None:
                raise
            return cached.key
        self._cache[found] = _Looked(key, time.monotonic())
        self._cache.move_to_end(found)
        while len(self._cache) > _MOST_CACHED:
            self._cache.popitem(last=False)
        return key


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment is not None else None
