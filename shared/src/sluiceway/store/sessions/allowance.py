"""How many turns and sessions one owner may have. 0: as many as he likes; so may who is nobody in particular.

Guarantees: however many he asks for at once, he has no more. The owner's transactions follow one another from
`one_at_a_time` to their ends; what is counted is counted behind that.
"""

from sluiceway.errors import TooManySessions, TooManyTasks
from sluiceway.ids import org_of
from sluiceway.store.database.pool import Connection
from sluiceway.store.records import LIVE

# Any fixed numbers, known to nobody else in this database: one lock for each owner, and for each organisation.
_LOCK = 730_580_443
_ORG_LOCK = 730_580_444
_RETRY_SECONDS = 5
_SESSIONS_RETRY_SECONDS = 600


async def check_live(connection: Connection, owner: str | None, most: int) -> None:
    """Raise TooManyTasks where one more turn would be too many. One that was asked to end counts no more. The caller's
    turn was his owner's only one to be counted: see `one_at_a_time`."""
    if owner is None or most == 0:
        return
    if await _live(connection, owner) >= most:
        raise TooManyTasks(
            f"You have {most} turns that run or wait, which is as many as one may have.",
            max_turns=most,
            retry_after_seconds=_RETRY_SECONDS,
        )


async def check_live_of_org(connection: Connection, owner: str | None, most: int) -> None:
    """The same of all turns of his organisation, whose transactions follow one another from here to their ends."""
    org = org_of(owner)
    if not org or most == 0:
        return
    await connection.execute(f"SELECT pg_advisory_xact_lock({_ORG_LOCK}, hashtext($1))", org)
    live = await connection.fetchval(
        "SELECT count(*) FROM tasks WHERE org_of(user_id) = $1 AND user_id LIKE 'org:%'"
        f" AND {LIVE} AND cancel_requested_at IS NULL",
        org,
    )
    if live >= most:
        raise TooManyTasks(
            f"Your organisation has {most} turns that run or wait, which is as many as one may have.",
            max_turns=most,
            retry_after_seconds=_RETRY_SECONDS,
        )


def one_at_a_time(owner: str, counted: str) -> str:
    """An expression of a statement before: an owner's transactions follow one another from there to their ends, where
    they are counted, so that together they do not pass a limit. A look after it sees what those before it did; one in
    the same statement would not. Both are parameters: the owner, or NULL, and whether there is a limit."""
    lock = f"(SELECT true FROM pg_advisory_xact_lock({_LOCK}, hashtext({owner}::text)))"
    return f"CASE WHEN {counted}::boolean AND {owner}::text IS NOT NULL THEN {lock} END AS counted"


async def follow_one_another(connection: Connection, owner: str | None, *, counted: bool) -> None:
    """Before a session is locked, as everybody does."""
    if counted:
        await connection.execute(f"SELECT {one_at_a_time('$1', 'true')}", owner)


async def check_sessions(connection: Connection, owner: str | None, session_id: str, most_per_hour: int) -> None:
    """Raise TooManySessions where the owner has begun so many others than this one within an hour."""
    if owner is None or most_per_hour == 0:
        return
    begun = await connection.fetchval(
        # What was begun within the hour was also active within it, by which the index finds it.
        "SELECT count(*) FROM (SELECT 1 FROM sessions WHERE user_id = $1 AND updated_at > now() - interval '1 hour'"
        " AND created_at > now() - interval '1 hour' AND id <> $3 LIMIT $2) recent",
        owner,
        most_per_hour,
        session_id,
    )
    if begun >= most_per_hour:
        raise TooManySessions(max_sessions_per_hour=most_per_hour, retry_after_seconds=_SESSIONS_RETRY_SECONDS)


async def _live(connection: Connection, owner: str) -> int:
    count = await connection.fetchval(
        f"SELECT count(*) FROM tasks WHERE user_id = $1 AND {LIVE} AND cancel_requested_at IS NULL", owner
    )
    return int(count)
