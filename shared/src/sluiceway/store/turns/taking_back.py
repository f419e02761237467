"""Taking back a message that waits behind a turn, before anybody has begun its answer, inside a transaction.

Guarantees: with the claim of its turn it is one or the other: either the answer has begun and nothing is changed, or no
model is told of the message. Its words are deleted, and what was written behind it follows what was before it. The row
stays, so that the message, sent again by a request that was late, is refused and not answered.
"""

from sluiceway.errors import MessageNotFound, MessageNotWaiting
from sluiceway.store.database.pool import Connection
from sluiceway.store.records import TASK_COLUMNS, Task, task_of
from sluiceway.store.turns.branches import fill_parents, lock_session
from sluiceway.store.turns.ending import cancelled_unseen, end_turn

# `beside`: another message has, or had, its place: it is an edit of that one.
_MESSAGE = (
    "SELECT m.parent_id, m.sequence, m.superseded, m.parts = '[]' AS wordless, EXISTS (SELECT 1 FROM messages o"
    "  WHERE o.session_id = $1 AND o.parent_id = m.parent_id AND o.superseded AND o.id <> m.id AND o.role = 'user'"
    "  AND o.parts <> '[]') AS beside"
    " FROM messages m WHERE m.session_id = $1 AND m.id = $2 AND m.role = 'user'"
)


async def take_back(connection: Connection, session_id: str, user_id: str | None, message_id: str) -> Task | None:
    """The turn that was to answer it, as it has ended. None: it was taken back before.

    Raises SessionNotFound, AccessDenied, MessageNotFound, MessageNotWaiting.
    """
    await lock_session(connection, session_id, user_id)
    await fill_parents(connection, session_id)
    message = await connection.fetchrow(_MESSAGE, session_id, message_id)
    if message is None:
        raise MessageNotFound
    if message["superseded"] and message["wordless"]:
        return None
    task = await _waiting(connection, session_id, message_id)
    if task is None or message["superseded"] or message["beside"]:
        raise MessageNotWaiting
    await end_turn(connection, task, cancelled_unseen({"by": "taking back"}), None)
    both = [message_id, task.message_id]
    # By the sequence, too: those that are shown have no index by what they follow.
    await connection.execute(
        "UPDATE messages SET parent_id = $3 WHERE session_id = $1 AND sequence > $4"
        " AND parent_id = ANY($2::text[]) AND NOT id = ANY($2::text[])",
        session_id,
        both,
        message["parent_id"],
        message["sequence"],
    )
    await connection.execute(
        "UPDATE messages SET parts = '[]', metadata = NULL, superseded = true, superseded_at = now()"
        " WHERE session_id = $1 AND id = ANY($2::text[])",
        session_id,
        both,
    )
    row = await connection.fetchrow(f"SELECT {TASK_COLUMNS} FROM tasks WHERE id = $1", task.id)
    return task_of(row) if row is not None else None


async def _waiting(connection: Connection, session_id: str, message_id: str) -> Task | None:
    """The one turn that is to answer it, where nobody has begun that, and no turn has made way for it or asked it."""
    rows = await connection.fetch(
        f"SELECT {TASK_COLUMNS} FROM tasks WHERE session_id = $1 AND user_message_id = $2"
        " ORDER BY sequence DESC LIMIT 2 FOR UPDATE",
        session_id,
        message_id,
    )
    task = task_of(rows[0]) if len(rows) == 1 else None
    begun = task is None or task.status != "queued" or task.entered or task.continues is not None
    return None if begun else task
