"""What tests ask Postgres itself."""

from typing import TYPE_CHECKING

import asyncpg

if TYPE_CHECKING:
    Database = asyncpg.Connection[asyncpg.Record]
else:
    Database = asyncpg.Connection


async def stored_answer(database: Database, message_id: str) -> str:
    """The text of an assistant message as Postgres has it."""
    texts = await database.fetch(
        "SELECT part->>'text' AS text FROM messages, jsonb_array_elements(parts) AS part"
        " WHERE id = $1 AND part->>'type' = 'text'",
        message_id,
    )
    return "".join(row["text"] for row in texts)


async def task_status(database: Database, task_id: str) -> str:
    return str(await database.fetchval("SELECT status FROM tasks WHERE id = $1", task_id))
