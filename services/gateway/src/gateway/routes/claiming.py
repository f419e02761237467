"""What a person began before he signed in becomes his own: when he asks for it, or with the first message he sends.

His browser still has the cookie of who he was. Without it a session that is somebody else's stays so, however well its
id is known.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from sluiceway.errors import AccessDenied, SessionNotFound
from sluiceway.store.database.wall import acting_for
from sluiceway.store.records import Session

from gateway.api.problems import Unauthenticated
from gateway.callers.caller import Caller
from gateway.routing.table import Call

T = TypeVar("T")


async def claim(call: Call[Any, Any], session_id: str) -> Session:
    """Raises Unauthenticated, SessionNotFound, AccessDenied, StoreUnavailable, RedisUnavailable."""
    caller = call.caller
    if caller.kind != "user" or caller.user_id is None:
        raise Unauthenticated("Only a user can claim a session.")
    with acting_for(None):  # what is nobody's yet is in no organisation
        return await _claim_as(call, caller, caller.user_id, session_id)


async def _claim_as(call: Call[Any, Any], caller: Caller, user_id: str, session_id: str) -> Session:
    owner = await call.gateway.store.sessions.owner(session_id)
    unowned = owner is None and call.gateway.settings.claim_unowned
    if not unowned and (owner is None or owner not in (user_id, caller.anonymous_id)):
        raise AccessDenied
    return await call.gateway.intake.claim_session(session_id, user_id, owner)


async def claiming(call: Call[Any, Any], session_id: str | None, write: Callable[[], Awaitable[T]]) -> T:
    """Write into a session; where it is the caller's of before he signed in, it is made his own first."""
    try:
        return await write()
    except (AccessDenied, SessionNotFound) as refused:
        if session_id is None or call.caller.anonymous_id is None:
            raise
        try:
            await claim(call, session_id)
        except SessionNotFound:
            raise refused from None
    return await write()
