"""Callers of every kind: tokens as this file signs them, the cookie of somebody anonymous, API keys of each scope."""

import hashlib
import json
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import httpx
import jwt

from harness.databases.database import Database

SECRET = "a secret that is long enough for HS256"
COOKIE = "sluiceway"
SESSION_SECRETS = json.dumps(["a secret that signs cookies, of 32 bytes or more"])


def token(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    """One that is good for an hour, unless `exp` says otherwise; with exp=None it has none."""
    told = {"exp": int(time.time()) + 3600, **claims}
    return jwt.encode({name: value for name, value in told.items() if value is not None}, secret, algorithm)


def bearer(user: str | None = None, secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> dict[str, str]:
    named = {} if user is None else {"sub": user}
    return {"authorization": f"Bearer {token(secret, algorithm, **named, **claims)}"}


async def anonymous(http: httpx.AsyncClient) -> dict[str, str]:
    """Somebody new, by his cookie: it comes with the page."""
    async with httpx.AsyncClient(base_url=http.base_url, trust_env=False, verify=False, timeout=20) as browser:
        page = await browser.get("/")
    return {"cookie": f"{COOKIE}={page.cookies[COOKIE]}"}


async def add_key(
    database: Database, name: str, scopes: Sequence[str], expires_at: datetime | None = None, org: str | None = None
) -> dict[str, str]:
    """A key as `sluicewayctl keys create` makes it."""
    key = f"swk_{name:x<43}"
    await database.execute(
        "INSERT INTO api_keys (name, digest, scopes, expires_at, org) VALUES ($1, $2, $3, $4, $5)",
        name,
        hashlib.sha256(key.encode()).digest(),
        list(scopes),
        expires_at,
        org,
    )
    return {"x-api-key": key}
