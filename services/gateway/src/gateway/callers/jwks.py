"""The public keys of an identity provider, by URL or found through its issuer (OpenID Connect Discovery 1.0).

Guarantees: a rotated key is known with the first token that it signed, unless keys were asked for within the last
`pause_seconds`; unknown key ids cause one fetch in each pause, no matter how many tokens name them; while the provider
is away the last keys that it gave stay good; a key is used with the one algorithm that its type has (RFC 8725, 3.1). A
fetch never holds up tokens whose key is known.
Not guaranteed: that a key which the provider withdrew is refused before `max_age_seconds` are over, or while the
provider is away.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import httpx
import jwt
from sluiceway.cancelling import cancelled
from sluiceway.process.interim_answers import bound_interim_answers
from sluiceway.process.logs import get_logger

from gateway.api.problems import IdentityProviderUnavailable
from gateway.callers.discovery import ProviderAnswerInvalid, ask_json, discover

Algorithm = Literal["RS256", "ES256", "EdDSA"]
ALGORITHMS: tuple[Algorithm, ...] = ("RS256", "ES256", "EdDSA")
_BY_TYPE: dict[tuple[str, str | None], Algorithm] = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}
_SHORTEST_RSA_BITS = 2048
_MOST_KEYS = 100


@dataclass(frozen=True, slots=True)
class Times:
    """`max_age_seconds`: after so long the keys are fetched again, beside the requests that use them.
    `pause_seconds`: between two fetches, whatever causes them. `timeout_seconds`: for one."""

    max_age_seconds: float = 600
    pause_seconds: float = 30
    timeout_seconds: float = 5


class ProviderKeys:
    """Give `jwks_url`, or `issuer` alone. Used through `opened`."""

    def __init__(self, client: httpx.AsyncClient, jwks_url: str | None, issuer: str | None, times: Times) -> None:
        self._client = client
        self._jwks_url = jwks_url
        self._issuer = issuer
        self._times = times
        self._keys: dict[tuple[str | None, Algorithm], Any] = {}
        self._stale_at = self._next_fetch_at = 0.0
        self._fetching: asyncio.Task[None] | None = None

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, jwks_url: str | None, issuer: str | None, times: Times | None = None
    ) -> AsyncIterator["ProviderKeys"]:
        times = times or Times()
        async with httpx.AsyncClient(timeout=times.timeout_seconds) as client:
            keys = cls(bound_interim_answers(client), jwks_url, issuer, times)
            try:
                yield keys
            finally:
                await keys._stop()

    async def find(self, kid: str | None, algorithm: Algorithm) -> Any | None:
        """The public key, or None. Raises IdentityProviderUnavailable while there never was one."""
        if self._keys and time.monotonic() >= self._stale_at:
            self._fetch_beside()
        key = self._known(kid, algorithm)
        if key is None:
            await self._fetch()
            key = self._known(kid, algorithm)
        if not self._keys:
            raise IdentityProviderUnavailable("it never gave us its keys")
        return key

    def _known(self, kid: str | None, algorithm: Algorithm) -> Any | None:
        if kid is not None:
            return self._keys.get((kid, algorithm))
        # A token without a key id is the only key's of its algorithm.
        fitting = [key for (_, known), key in self._keys.items() if known == algorithm]
        return fitting[0] if len(fitting) == 1 else None

    async def _fetch(self) -> None:
        """Wait for the fetch that is under way, or for a new one if it is time for one."""
        fetching = self._fetch_beside()
        if fetching is not None:
            # Shielded: the request that caused it may go away, others wait for it too.
            await asyncio.shield(fetching)

    def _fetch_beside(self) -> asyncio.Task[None] | None:
        if self._fetching is None and time.monotonic() >= self._next_fetch_at:
            self._next_fetch_at = time.monotonic() + self._times.pause_seconds
            self._fetching = asyncio.create_task(self._refresh(), name="jwks")
        return self._fetching

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(self._times.timeout_seconds):
                found = read_key_set(await ask_json(self._client, "GET", await self._address()))
            self._keys = found
            self._stale_at = time.monotonic() + self._times.max_age_seconds
            get_logger().info("identity_provider_keys", keys=len(found))
        except (httpx.HTTPError, httpx.InvalidURL, ProviderAnswerInvalid, TimeoutError) as error:
            get_logger().warning("identity_provider_away", reason=str(error) or type(error).__name__)
        finally:
            self._fetching = None

    async def _address(self) -> str:
        if self._jwks_url is not None:
            return self._jwks_url
        [address] = await discover(self._client, self._issuer or "", "jwks_uri")
        return address

    async def _stop(self) -> None:
        if self._fetching is not None:
            await cancelled([self._fetching])


def read_key_set(document: Any) -> dict[tuple[str | None, Algorithm], Any]:
    """The keys that we can use, by id and algorithm. Raises ProviderAnswerInvalid where there are none."""
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ProviderAnswerInvalid("the answer is not a key set")
    found: dict[tuple[str | None, Algorithm], Any] = {}
    for entry in listed[:_MOST_KEYS]:
        algorithm = _algorithm_of(entry)
        if algorithm is not None:
            with contextlib.suppress(jwt.InvalidKeyError, jwt.PyJWKError, ValueError, TypeError, KeyError):
                key = jwt.PyJWK(entry, algorithm).key
                if algorithm != "RS256" or key.key_size >= _SHORTEST_RSA_BITS:
                    found[entry.get("kid"), algorithm] = key
    if not found:
        raise ProviderAnswerInvalid("the key set has no key that could be used")
    return found


def _algorithm_of(entry: Any) -> Algorithm | None:
    """What a key of this kind signs with; None: it is not for us. Symmetric keys are none that a provider publishes."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("kid"), str | None) or "d" in entry:
        return None
    algorithm = _BY_TYPE.get((str(entry.get("kty")), entry.get("crv") if entry.get("kty") != "RSA" else None))
    usable = entry.get("use", "sig") == "sig" and entry.get("alg", algorithm) == algorithm
    return algorithm if usable else None
