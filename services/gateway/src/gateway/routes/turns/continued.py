"""What a message had before the turn that continues it, for clients that follow a chat and not a turn.

A turn that continues a message, after an approval or a client's output, tells in its stream what it adds. The client
that answered has the rest. One that reloads takes what it is sent for the whole message (the AI SDK's transport calls a
resumed stream a replay), and calls that it is not told of are unknown to it: so it is told of them first.

Redis has that, with the turn. Postgres is asked for what it has not: see sluiceway/turn/before.py.
"""

from sluiceway.errors import StoreUnavailable
from sluiceway.process.logs import get_logger
from sluiceway.turn.before import parts_before
from sluiceway.turn.lookup import Followed
from sluiceway.turn.shown import UNREADABLE
from sluiceway.wire.entry_id import EntryId
from sluiceway.wire.events import Event, Start
from sluiceway.wire.message import Part, replay_of

from gateway.api.cursors import BEGINNING
from gateway.state import Gateway

# Behind it comes the whole stream: who breaks off here, and resumes the turn by its id, gets that.
_ID = b"id: 0-0\n"


async def told_before(gateway: Gateway, task: Followed) -> bytes:
    """Events that come in the place of the turn's own `start`; none for a turn that began its message."""
    try:
        parts = parts_before(task.meta)
        if parts is None:
            parts = await _stored(gateway, task.task_id)
        told: list[Event] = [Start(message_id=task.message_id), *replay_of(parts)] if parts else []
    except UNREADABLE:
        get_logger().exception("turn_unreadable", task_id=task.task_id)
        return b""
    return b"".join(_ID + b"data: %b\n\n" % event.encode() for event in told)


async def _stored(gateway: Gateway, task_id: str) -> list[Part]:
    """While Postgres is away nobody is told: nearly every turn began its message, and of those Redis has all."""
    try:
        found = await gateway.store.turns.continued(task_id)
    except StoreUnavailable:
        return []
    return found[1] if found is not None else []


async def behind_its_start(gateway: Gateway, task_id: str) -> EntryId:
    """The cursor with which a turn's stream is followed without its own `start`, where it has one yet."""
    first = await gateway.reader.page(task_id, BEGINNING, 1)
    return first[0][0] if first else BEGINNING
