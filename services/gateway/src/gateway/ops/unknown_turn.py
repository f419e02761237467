"""What may have become of a turn that Postgres does not have, in a sentence or two, with what can be done.

Guarantees: it asks Postgres once and Redis once, and where these are away says what is known without them. Not
guaranteed: that it is known. Postgres may have gone back behind a turn longer ago than Redis remembers.
"""

from contextlib import suppress

from redis.asyncio import Redis
from sluiceway import keys
from sluiceway.errors import RedisUnavailable
from sluiceway.redis.client import command
from sluiceway.store import Store
from sluiceway.stream.task_meta import TaskMeta

_BACK = "Postgres went back behind it (a restored backup, or a failover that lost the last writes)"
_AGAIN = "its user has to send the message again. See docs/runbook/store-went-back.md"
_UNKNOWN = (
    "Neither Postgres nor Redis has a turn with this id. The id is wrong, or Postgres went back behind it (a restored"
    " backup, or a failover) longer ago than Redis remembers: the logs have its id (`turn_accepted`, `turn_lost`)."
    " A message that was refused (a limit, a budget) has no turn: `http_request` in the gateway's log has its code."
)


async def why_unknown(redis: Redis, store: Store, task_id: str) -> str:
    """Raises StoreUnavailable."""
    session_id = await store.erasures.session_of(task_id)
    if session_id is not None:
        return f"It was deleted, with its session {session_id}: nothing that it said is kept."
    fields: dict[bytes, bytes] = {}
    with suppress(RedisUnavailable):
        fields = await command(redis, "HGETALL", keys.task_meta(task_id))
    meta = TaskMeta.read(fields)
    if meta is None:
        return _erased() if fields else _UNKNOWN
    if meta.ended:
        return (
            f"Postgres does not have this turn, and Redis knows that it ended ({meta.status}): {_BACK}. It is in no"
            f" history; its stream is there until it expires. Where that is not enough, {_AGAIN}."
        )
    return (
        f"Postgres does not have this turn, and Redis does ({meta.status}): {_BACK}. A completion consumer ends it"
        f" within a minute, if one runs (`sluicewayctl ps`); {_AGAIN}."
    )


def _erased() -> str:
    """Only what fences late writers is left of it."""
    return (
        f"Postgres does not have this turn, and what Redis had of it was erased: {_BACK}, or its session was deleted"
        " and that, too, is forgotten. `turn_lost` in the log of the completion consumer tells which; if it was lost,"
        f" {_AGAIN}."
    )
