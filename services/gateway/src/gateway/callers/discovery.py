"""What an identity provider publishes over HTTP: OpenID Connect Discovery 1.0, and JSON in general.

Answers are bounded in size and in time, and what is compressed is not read: a few bytes may become very many. Redirects
are not followed: the addresses were configured, or come from a document that was; what stands elsewhere would be
somebody else's.
"""

import asyncio
from typing import Any

import httpx

_MOST_BYTES = 512 * 1024
# Of a whole answer: the client's own timeout begins anew with each byte.
_MOST_SECONDS = 10.0
_PLAIN = "identity"
_WELL_KNOWN = "/.well-known/openid-configuration"


class ProviderAnswerInvalid(Exception):
    """The provider's answer is not what the specifications say."""


async def ask_json(client: httpx.AsyncClient, method: str, address: str, **options: Any) -> Any:
    """Raises ProviderAnswerInvalid, httpx.HTTPError, httpx.InvalidURL."""
    try:
        async with asyncio.timeout(_MOST_SECONDS):
            body = await _body_of(client, method, address, **options)
    except TimeoutError:
        raise httpx.ReadTimeout("the answer took too long") from None
    try:
        return httpx.Response(200, content=body).json()
    except (ValueError, RecursionError):
        raise ProviderAnswerInvalid("the answer is not JSON") from None


async def _body_of(client: httpx.AsyncClient, method: str, address: str, **options: Any) -> bytes:
    headers = {"accept-encoding": _PLAIN}
    async with client.stream(method, address, follow_redirects=False, headers=headers, **options) as response:
        if response.status_code != 200:
            raise ProviderAnswerInvalid(f"status {response.status_code}")
        if response.headers.get("content-encoding", _PLAIN).strip().lower() != _PLAIN:
            raise ProviderAnswerInvalid("the answer is compressed")
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > _MOST_BYTES:
                raise ProviderAnswerInvalid("the answer is too large")
    return bytes(body)


async def discover(client: httpx.AsyncClient, issuer: str, *names: str) -> list[str]:
    """The addresses of these names in the issuer's document. Raises as `ask_json`."""
    document = await ask_json(client, "GET", issuer.rstrip("/") + _WELL_KNOWN)
    if not isinstance(document, dict) or document.get("issuer") != issuer:
        raise ProviderAnswerInvalid("the discovery document is not that of the issuer")
    addresses = [document.get(name) for name in names]
    secure = issuer.startswith("https:")
    found = [address for address in addresses if isinstance(address, str)]
    if len(found) != len(names) or (secure and not all(address.startswith("https:") for address in found)):
        raise ProviderAnswerInvalid("the discovery document lacks an address, or has one that is not https")
    return found
