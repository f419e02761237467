"""API keys of services: their names, scopes and digests. The keys themselves are stored nowhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from sluiceway.store.database.pool import Pool

_COLUMNS = "name, scopes, org, created_at, expires_at, revoked_at"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """`org`: as tokens name it; None: it is of the whole installation."""

    name: str
    scopes: Sequence[str]
    org: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def is_good(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class ApiKeyStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(
        self, name: str, digest: bytes, scopes: Sequence[str], lifetime: timedelta | None, org: str | None = None
    ) -> ApiKey | None:
        """None: the name is, or was, another key's. Names are used once, as they stand for who owns what."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(
                "INSERT INTO api_keys (name, digest, scopes, expires_at, org)"
                " VALUES ($1, $2, $3, now() + $4::interval, $5)"
                f" ON CONFLICT (name) DO NOTHING RETURNING {_COLUMNS}",
                name,
                digest,
                scopes,
                lifetime,
                org,
            )
        return _key_of(row) if row is not None else None

    async def find(self, digest: bytes) -> ApiKey | None:
        """Also a key that is good no more. By its digest: the time that this takes tells nothing of a key."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM api_keys WHERE digest = $1", digest)
        return _key_of(row) if row is not None else None

    async def good(self, names: Sequence[str]) -> set[str]:
        """Those of these keys that are good still."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                "SELECT name FROM api_keys WHERE name = ANY($1) AND revoked_at IS NULL"
                " AND (expires_at IS NULL OR expires_at > now())",
                names,
            )
        return {row["name"] for row in rows}

    async def all(self) -> list[ApiKey]:
        async with self._pool.connection() as connection:
            rows = await connection.fetch(f"SELECT {_COLUMNS} FROM api_keys ORDER BY created_at, name")
        return [_key_of(row) for row in rows]

    async def revoke(self, name: str) -> bool:
        """Whether there is such a key. One that was revoked before stays so."""
        async with self._pool.connection() as connection:
            found = await connection.fetchval(
                "UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE name = $1 RETURNING name", name
            )
        return found is not None


def _key_of(row: asyncpg.Record) -> ApiKey:
    return ApiKey(**dict(row))
