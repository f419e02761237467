"""What a person began before he signed in becomes his own: when he asks for it, or with the first message he sends.

His browser still has the cookie of who he was. Without it a session that is somebody else's stays so, however well its
id is known.
"""

from collections.abc import Awaitable, Callable, Collection
from typing import Any, TypeVar

from sluiceway.errors import AccessDenied, SessionNotFound
from sluiceway.ids import user_of
from sluiceway.store.database.wall import acting_for
from sluiceway.store.records import Session

from gateway.api.problems import Unauthenticated
from gateway.routing.table import Call

T = TypeVar("T")


async def claim(call: Call[Any, Any], session_id: str) -> Session:
    """Also what is the user's own of no organisation, for the one that he is in now.

    Raises Unauthenticated, SessionNotFound, AccessDenied, StoreUnavailable, RedisUnavailable."""
    caller = call.caller
    if caller.kind != "user" or caller.user_id is None:
        raise Unauthenticated("Only a user can claim a session.")
    return await _claim_from(call, caller.user_id, session_id, {caller.anonymous_id, user_of(caller.user_id)})


async def _claim_from(call: Call[Any, Any], user_id: str, session_id: str, before: Collection[str | None]) -> Session:
    with acting_for(None):  # who somebody was before was in no organisation
        owner = await call.gateway.store.sessions.owner(session_id)
        unowned = owner is None and call.gateway.settings.claim_unowned
        if not unowned and (owner is None or owner not in {user_id, *before}):
            raise AccessDenied
        return await call.gateway.intake.claim_session(session_id, user_id, owner)


async def claiming(call: Call[Any, Any], session_id: str | None, write: Callable[[], Awaitable[T]]) -> T:
    """Write into a session; where it is the caller's of before he signed in, it is made his own first."""
    try:
        return await write()
    except (AccessDenied, SessionNotFound) as refused:
        caller = call.caller
        if session_id is None or caller.anonymous_id is None or caller.user_id is None:
            raise
        try:
            await _claim_from(call, caller.user_id, session_id, {caller.anonymous_id})
        except SessionNotFound:
            raise refused from None
    return await write()
