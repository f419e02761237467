"""What is known of files: whose they are, which conversation they belong to, and what is to be removed.

Guarantees: whoever names a `user_id` finds only his own. A file belongs to the conversation whose message named it
first, and to those that were forked from it (`file_sessions`); it goes with the last of them. However a row goes, its
object is noted for removal in the same transaction. (Triggers of the schema see to both.)
"""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sluiceway.errors import AccessDenied, FileNotFound, FileQuotaReached
from sluiceway.store.database.pool import Connection, Pool
from sluiceway.store.records import FILE_COLUMNS, StoredFile, file_of
from sluiceway.wire.file_part import file_part
from sluiceway.wire.message import Part

# As those in allowance.py: of whoever keeps files one at a time.
_LOCK = 730_580_445


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one owner may have stored, in all; 0: as much as he likes. So may who is nobody in particular."""

    max_files: int = 0
    max_bytes: int = 0


@dataclass(frozen=True, slots=True)
class NewFile:
    """`size`: as large as it may become."""

    id: str
    user_id: str | None
    session_id: str | None
    name: str
    media_type: str
    size: int


class FileStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def begin(self, new: NewFile, allowance: Allowance) -> StoredFile | None:
        """Note that its bytes are about to come. The file, where it is there already.

        Raises FileQuotaReached; AccessDenied: somebody else has one of that id.
        """
        async with self._pool.transaction() as connection:
            await _check(connection, new, allowance)
            # Who is removing an object of that id just now is done before the new one is begun.
            await connection.execute("DELETE FROM file_removals WHERE id = $1", new.id)
            row = await connection.fetchrow(
                "INSERT INTO files (id, user_id, session_id, name, media_type, size) VALUES ($1, $2, $3, $4, $5, $6)"
                " ON CONFLICT (id) DO UPDATE SET created_at = CASE WHEN files.stored_at IS NULL THEN now()"
                f"   ELSE files.created_at END RETURNING {FILE_COLUMNS}",
                new.id,
                new.user_id,
                new.session_id,
                new.name,
                new.media_type,
                new.size,
            )
        if row is not None and row["user_id"] != new.user_id:
            raise AccessDenied
        return file_of(row) if row is not None and row["stored_at"] is not None else None

    async def finish(self, file_id: str, size: int, sha256: str) -> StoredFile | None:
        """All of its bytes are there. None: it was given up meanwhile."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(
                f"UPDATE files SET size = $2, sha256 = $3, stored_at = now() WHERE id = $1 RETURNING {FILE_COLUMNS}",
                file_id,
                size,
                sha256,
            )
        return file_of(row) if row is not None else None

    async def drop(self, file_id: str) -> None:
        """Give up one whose bytes did not come."""
        async with self._pool.connection() as connection:
            await connection.execute("DELETE FROM files WHERE id = $1 AND stored_at IS NULL", file_id)

    async def get(self, file_id: str, user_id: str | None) -> StoredFile:
        """Raises FileNotFound, AccessDenied."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(
                f"SELECT {FILE_COLUMNS} FROM files WHERE id = $1 AND stored_at IS NOT NULL", file_id
            )
        if row is None:
            raise FileNotFound
        if row["user_id"] != user_id:
            raise AccessDenied
        return file_of(row)

    async def owner(self, file_id: str) -> str | None:
        """Whose it is. Raises FileNotFound."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(
                "SELECT user_id FROM files WHERE id = $1 AND stored_at IS NOT NULL", file_id
            )
        if row is None:
            raise FileNotFound
        return row["user_id"]  # type: ignore[no-any-return]

    async def claim(self, ids: Collection[str], user_id: str | None, before: str) -> None:
        """Those of these that were uploaded by who he was before he signed in become his own."""
        async with self._pool.connection() as connection:
            await connection.execute(
                # Not `IS NULL`: all that no message has named would be read, by the index of those.
                "UPDATE files SET user_id = $2 WHERE id = ANY($1::text[]) AND user_id = $3"
                " AND coalesce(session_id, '') = ''",
                list(ids),
                user_id,
                before,
            )

    async def delete(self, file_id: str, user_id: str | None) -> None:
        """Raises FileNotFound, AccessDenied."""
        await self.get(file_id, user_id)
        async with self._pool.connection() as connection:
            await connection.execute("DELETE FROM files WHERE id = $1", file_id)

    async def of_owner(self, user_id: str | None, ids: Collection[str]) -> dict[str, StoredFile]:
        """Those of these that are his, by id."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                f"SELECT {FILE_COLUMNS} FROM files WHERE id = ANY($1::text[]) AND stored_at IS NOT NULL"
                " AND coalesce(user_id, '') = coalesce($2, '')",
                list(ids),
                user_id,
            )
        return {row["id"]: file_of(row) for row in rows}

    async def note_reading(self, file_id: str, reading: dict[str, Any]) -> None:
        """What a model is told of it from now on."""
        async with self._pool.connection() as connection:
            await connection.execute("UPDATE files SET reading = $2 WHERE id = $1", file_id, reading)

    # What is to go

    async def drop_unattached(self, unused_for: timedelta, unfinished_for: timedelta, limit: int) -> int:
        """Files that no message has named for so long, and those whose bytes stopped coming; how many they were."""
        async with self._pool.connection() as connection:
            status = await connection.execute(
                "DELETE FROM files WHERE id IN (SELECT id FROM files WHERE session_id IS NULL"
                f" AND created_at < now() - CASE WHEN stored_at IS NULL THEN $2::interval ELSE $1::interval END"
                f" AND created_at < now() - least($1::interval, $2::interval)"
                f" ORDER BY created_at LIMIT {limit:d} FOR UPDATE SKIP LOCKED)",
                unused_for,
                unfinished_for,
            )
        return int(status.rpartition(" ")[2])

    async def removals(self, limit: int, without: Sequence[str] = ()) -> list[str]:
        """Objects whose file has gone, the oldest first."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                "SELECT id FROM file_removals WHERE removed_at <= now() AND NOT id = ANY($2::text[])"
                " ORDER BY removed_at LIMIT $1",
                limit,
                list(without),
            )
        return [row["id"] for row in rows]

    @asynccontextmanager
    async def removing(self, file_id: str) -> AsyncIterator[bool]:
        """While its object is removed; after that it is done with. False: it is wanted again, or somebody has done it.

        Nobody begins a file of that id meanwhile.
        """
        async with self._pool.transaction() as connection:
            due = await connection.fetchval("SELECT id FROM file_removals WHERE id = $1 FOR UPDATE", file_id)
            wanted = await connection.fetchval("SELECT id FROM files WHERE id = $1", file_id)
            yield due is not None and wanted is None
            await connection.execute("DELETE FROM file_removals WHERE id = $1", file_id)

    async def note_strays(self, ids: Sequence[str]) -> list[str]:
        """Of these objects, those that no row names are to be removed."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                "INSERT INTO file_removals (id) SELECT id FROM unnest($1::text[]) AS listed(id) WHERE NOT EXISTS"
                " (SELECT 1 FROM files WHERE files.id = listed.id) ON CONFLICT (id) DO NOTHING RETURNING id",
                list(ids),
            )
        return [row["id"] for row in rows]


async def attach(connection: Connection, session_id: str, user_id: str | None, ids: Sequence[str]) -> list[Part]:
    """Make these files the conversation's; the parts that name them, in their order. Raises FileNotFound: one is not
    there, another person's, or of a conversation that this one was not forked from."""
    if not ids:
        return []
    rows = await connection.fetch(
        "UPDATE files f SET session_id = coalesce(session_id, $1) WHERE id = ANY($2::text[]) AND (session_id IS NULL"
        " OR EXISTS (SELECT 1 FROM file_sessions s WHERE s.file_id = f.id AND s.session_id = $1))"
        " AND coalesce(user_id, '') = coalesce($3, '') AND stored_at IS NOT NULL RETURNING id, name, media_type",
        session_id,
        list(ids),
        user_id,
    )
    found = {row["id"]: file_part(row["id"], row["name"], row["media_type"]) for row in rows}
    if len(found) < len(set(ids)):
        raise FileNotFound("A file that the message names is not there, not yours, or another conversation's.")
    return [found[file_id] for file_id in ids]


async def share_files(connection: Connection, session_id: str, forked_id: str) -> None:
    """Files of a conversation that messages of its fork name are that one's, too."""
    await connection.execute(
        "INSERT INTO file_sessions (session_id, file_id) SELECT $2, f.file_id FROM file_sessions f"
        " WHERE f.session_id = $1 AND EXISTS"
        " (SELECT 1 FROM messages m WHERE m.session_id = $2 AND strpos(m.parts::text, f.file_id) > 0)",
        session_id,
        forked_id,
    )


async def lock_files(connection: Connection, session_id: str) -> None:
    """Before the conversation is deleted, in the order in which everybody does: two may have files in common."""
    await connection.execute(
        "SELECT 1 FROM files WHERE id IN (SELECT file_id FROM file_sessions WHERE session_id = $1)"
        " ORDER BY id FOR UPDATE",
        session_id,
    )


async def _check(connection: Connection, new: NewFile, allowance: Allowance) -> None:
    """One after the other: of many at once none would see the others. One that comes again counts once."""
    if new.user_id is None or not (allowance.max_files or allowance.max_bytes):
        return
    await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK}, hashtext($1))", new.user_id)
    row = await connection.fetchrow(
        "SELECT count(*) AS files, coalesce(sum(size), 0)::bigint AS bytes FROM files WHERE user_id = $1 AND id <> $2",
        new.user_id,
        new.id,
    )
    if row is None:
        return
    if allowance.max_files and row["files"] >= allowance.max_files:
        raise FileQuotaReached(max_files_per_user=allowance.max_files)
    if allowance.max_bytes and row["bytes"] + new.size > allowance.max_bytes:
        raise FileQuotaReached(max_file_bytes_per_user=allowance.max_bytes)
