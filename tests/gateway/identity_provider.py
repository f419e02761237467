"""An identity provider under a test's hand: it publishes keys over HTTP, signs, rotates, answers badly, goes away."""

import asyncio
import base64
import hashlib
import json
import time
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from harness.processes.ports import free_port


@dataclass(frozen=True)
class SigningKey:
    kid: str
    algorithm: str
    private: Any

    @classmethod
    def make(cls, kid: str, algorithm: str = "RS256") -> "SigningKey":
        match algorithm:
            case "RS256":
                return cls(kid, algorithm, rsa.generate_private_key(65537, 2048))
            case "ES256":
                return cls(kid, algorithm, ec.generate_private_key(ec.SECP256R1()))
            case _:
                return cls(kid, algorithm, ed25519.Ed25519PrivateKey.generate())

    @property
    def jwk(self) -> dict[str, Any]:
        public = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.private.public_key(), as_dict=True)
        return {**public, "kid": self.kid, "use": "sig", "alg": self.algorithm}

    def sign(self, *, header: dict[str, Any] | None = None, **claims: Any) -> str:
        told = {"exp": int(time.time()) + 3600, **claims}
        kept = {name: value for name, value in told.items() if value is not None}
        return jwt.encode(kept, self.private, self.algorithm, {"kid": self.kid, **(header or {})})


@dataclass
class IdentityProvider:
    """Serves the discovery document, `/authorize`, `/token` and `/keys`.

    `fetched`: which paths were asked for, in order. `user`: who is let in by `/authorize`, without a question.
    `codes`: what each authorization code is good for, once: the PKCE challenge and the ID token.
    """

    keys: list[SigningKey]
    port: int = field(default_factory=free_port)
    status: int = 200
    body: bytes | None = None
    fetched: list[str] = field(default_factory=list)
    user: str = "ada"
    hold: asyncio.Event | None = None
    codes: dict[str, tuple[str, str]] = field(default_factory=dict)
    asked_as: list[str] = field(default_factory=list)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def jwks_url(self) -> str:
        return f"{self.issuer}/keys"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.go_away()

    async def go_away(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ", 2)[1].decode()
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        form = (await reader.readexactly(int(fields.get(b"content-length", b"0")))).decode()
        self.fetched.append(path)
        if self.hold is not None:
            await self.hold.wait()
        status = self.status
        document = self._document(path) if path != "/token" else self._exchange(form, head.decode())
        if document is None:
            status, document = 400, {"error": "invalid_grant"}
        location = ""
        if path.startswith("/authorize?"):
            status, location = 302, f"location: {self._let_in(path)}\r\n"
        body = self.body if self.body is not None else json.dumps(document).encode()
        head_lines = f"{location}content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        writer.write(f"HTTP/1.1 {status} X\r\n{head_lines}".encode() + body)
        writer.close()

    def _document(self, path: str) -> Any:
        if path == "/keys":
            return {"keys": [key.jwk for key in self.keys]}
        return {
            "issuer": self.issuer,
            "jwks_uri": self.jwks_url,
            "authorization_endpoint": f"{self.issuer}/authorize?tenant=1",
            "token_endpoint": f"{self.issuer}/token",
        }

    def _let_in(self, path: str) -> str:
        """Whoever comes is `user`. Where the browser goes then."""
        asked = dict(parse_qsl(urlsplit(path).query))
        id_token = self.keys[0].sign(iss=self.issuer, aud=asked["client_id"], sub=self.user, nonce=asked["nonce"])
        self.codes["code-2"] = (asked["code_challenge"], id_token)
        return f"{asked['redirect_uri']}?{urlencode({'code': 'code-2', 'state': asked['state']})}"

    def _exchange(self, form: str, head: str) -> Any | None:
        """RFC 6749, 4.1.3 and RFC 7636, 4.6: the code is good once, for who knows what its challenge was made of."""
        told = dict(parse_qsl(form))
        challenge, id_token = self.codes.pop(told.get("code", ""), ("", ""))
        made = base64.urlsafe_b64encode(hashlib.sha256(told.get("code_verifier", "").encode()).digest())
        if not id_token or made.decode().rstrip("=") != challenge:
            return None
        self.asked_as.append(
            next((line for line in head.split("\r\n") if line.lower().startswith("authorization")), "")
        )
        return {"access_token": "opaque", "token_type": "Bearer", "id_token": id_token}
