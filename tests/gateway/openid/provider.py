"""A real OpenID provider as a process: `oidc-provider` of npm, which is certified for the profiles that are used here.

It is asked as it is by anybody: browsers come to its pages, programs to its token endpoint. Its keys are ours, so that
tests rotate them, by starting it again with others.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urljoin

import httpx
import jwt

from harness.processes.child import Child
from harness.processes.node import find_node
from harness.processes.ports import free_port
from harness.waiting import wait_until
from tests.gateway.identity_provider import SigningKey

CLIENT_ID = "chat page"
# What has to be encoded in a Basic header (RFC 6749, 2.3.1), as secrets in base64 have it.
SECRET = "a secret+with/what=has%2Bto be encoded"
AUDIENCE = "https://api.sluiceway.test"
_PROGRAM = Path(__file__).parent / "provider.mjs"
_ACTION = re.compile(r'<form[^>]* action="([^"]+)"')
_MOST_STEPS = 12


@dataclass
class OpenIdProvider:
    """`public_url`: of the gateway, to which browsers come back. `claims`: of everybody's tokens."""

    public_url: str
    directory: Path
    claims: dict[str, Any] = field(default_factory=dict)
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self._child = Child("openid-provider", [], self.directory / "openid-provider.log")

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, *keys: SigningKey) -> None:
        """With these keys, of which the first signs. Whatever it knew before is gone."""
        told = {
            "port": self.port,
            "keys": [_with_private_part(key) for key in keys],
            "redirectUri": f"{self.public_url}/auth/callback",
            "secret": SECRET,
            "audience": AUDIENCE,
            "claims": self.claims,
        }
        self._child.command = [find_node().node, str(_PROGRAM), json.dumps(told)]
        self._child.start()
        async with httpx.AsyncClient(trust_env=False) as http:
            await wait_until(lambda: self._answers(http), 30, "the provider answers")

    def end(self) -> None:
        if self._child.alive:
            self._child.end()

    async def token(self, audience: str = AUDIENCE) -> str:
        """An access token for a program, by its own credentials."""
        form = {"grant_type": "client_credentials", "resource": audience}
        async with httpx.AsyncClient(trust_env=False) as http:
            auth = httpx.BasicAuth("billing", quote_plus(SECRET))
            answer = await http.post(f"{self.issuer}/token", data=form, auth=auth)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    async def let_in(self, browser: httpx.AsyncClient, address: str, user: str) -> str:
        """Go through its pages, as a person does in a browser, from where a sign-in begins. Where it leads back to."""
        for _ in range(_MOST_STEPS):
            if address.startswith(f"{self.public_url}/auth/callback"):
                return address
            page = await browser.get(address)
            if page.is_redirect:
                address = urljoin(address, page.headers["location"])
                continue
            form = {"prompt": "login", "login": user, "password": "any"} if 'value="login"' in page.text else {}
            action = _ACTION.search(page.text)
            assert action is not None, page.text
            sent = await browser.post(urljoin(address, action[1]), data=form or {"prompt": "consent"})
            assert sent.is_redirect, sent.text
            address = urljoin(address, sent.headers["location"])
        raise AssertionError(f"the provider leads nowhere: {address}")

    async def _answers(self, http: httpx.AsyncClient) -> bool:
        assert self._child.alive, self._child.output
        try:
            return (await http.get(f"{self.issuer}/.well-known/openid-configuration")).is_success
        except httpx.TransportError:
            return False


def _with_private_part(key: SigningKey) -> dict[str, Any]:
    told: dict[str, Any] = jwt.get_algorithm_by_name(key.algorithm).to_jwk(key.private, as_dict=True)
    told.pop("key_ops", None)
    return {**told, "kid": key.kid, "use": "sig", "alg": key.algorithm}
