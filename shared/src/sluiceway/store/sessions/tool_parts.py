"""The tool parts of a message that is stored already: their new states, inside a transaction."""

from collections.abc import Sequence
from typing import Any

from sluiceway.store.database.pool import Connection
from sluiceway.wire.message import Part, answer_call, calls_in


async def change_parts(
    connection: Connection, session_id: str, message_id: str, calls: Sequence[str], **fields: Any
) -> None:
    """Give the tool parts of these calls a new state."""
    parts: list[Part] | None = await connection.fetchval(
        "SELECT parts FROM messages WHERE session_id = $1 AND id = $2 FOR UPDATE", session_id, message_id
    )
    if parts is None:
        return
    found = calls_in(parts)
    for call_id in calls:
        if call_id in found:
            answer_call(found[call_id], **fields)
    await connection.execute(
        "UPDATE messages SET parts = $3 WHERE session_id = $1 AND id = $2", session_id, message_id, parts
    )
