"""As whom a caller looks at something. Each person and service sees its own; a key with the scope `read` sees what is
anybody's, as if its owner looked; one of an organisation what is anybody's of that one. Before Redis no wall stands, so
what it says of owners is looked at here.

Jobs and agent streams that belong to no turn come from programs outside of this service, and name no owner. Where there
are users they are for those who signed in, unless JOBS_OPEN says that knowing the id is enough; where there are
organisations, for programs with a key.
"""

import re
from typing import Any

from sluiceway.errors import AccessDenied, AgentStreamNotFound, JobNotFound, TaskNotFound
from sluiceway.ids import org_of
from sluiceway.store.sessions.sessions import check_owner

from gateway.api.problems import Unauthenticated
from gateway.routing.table import Call

TASK_ID = re.compile(r"task_[0-9a-f]{32}")
_OPERATION_ID = re.compile(r"op_[0-9a-f]{32}")


async def viewer_of_session(call: Call[Any, Any], session_id: str) -> str | None:
    """Raises SessionNotFound, StoreUnavailable, where a key looks."""
    return await call.gateway.store.sessions.owner(session_id) if call.caller.reads_all else call.caller.user_id


async def viewer_of_task(call: Call[Any, Any], task_id: str) -> str | None:
    """Raises TaskNotFound, StoreUnavailable, where a key looks."""
    if not call.caller.reads_all:
        return call.caller.user_id
    meta = await call.gateway.registry.meta(task_id)
    if meta is not None:
        if not may_read(call, meta.user_id):
            raise TaskNotFound
        return meta.user_id
    task = await call.gateway.store.turns.get(task_id)
    if task is None:
        raise TaskNotFound
    return task.user_id


async def check_job(call: Call[Any, Any], job_id: str) -> str | None:
    """Whether the caller may read a job's events, and of which turn they are. A job that is an operation belongs to the
    owner of its turn.

    Raises AccessDenied, JobNotFound, Unauthenticated, StoreUnavailable.
    """
    if call.caller.kind == "local" or (call.caller.reads_all and not call.caller.org):
        return None
    store = call.gateway.store
    operation = await store.operations.get(job_id)
    if operation is not None:
        task = await store.turns.get(operation.task_id)
        if task is None:
            raise JobNotFound
        if not call.caller.reads_all:
            check_owner(task.user_id, call.caller.user_id)
        return task.id
    if call.caller.reads_all:
        raise JobNotFound  # nobody knows of which organisation it is
    if _OPERATION_ID.fullmatch(job_id):
        # Deleted with its session, perhaps: what it told is nobody's any more.
        raise JobNotFound
    check_outside(call)
    return None


def may_read(call: Call[Any, Any], owner: str | None) -> bool:
    """Whether what is that owner's is for a key that reads what is anybody's."""
    return not call.caller.org or org_of(owner) == call.caller.org


async def is_turn_of(call: Call[Any, Any], task_id: str) -> bool:
    """Whether a task is a turn of the caller's; False: it is no turn of this service. Raises AccessDenied for somebody
    else's, AgentStreamNotFound for one that was deleted, RedisUnavailable, StoreUnavailable."""
    meta = await call.gateway.registry.meta(task_id)
    if meta is not None:
        check_owner(meta.user_id, call.caller.user_id)
        return True
    task = await call.gateway.store.turns.get(task_id)
    if task is None:
        if TASK_ID.fullmatch(task_id):
            raise AgentStreamNotFound
        return False
    check_owner(task.user_id, call.caller.user_id)
    return True


def check_outside(call: Call[Any, Any]) -> None:
    """Raises Unauthenticated, AccessDenied."""
    settings = call.gateway.settings
    if settings.jobs_open:
        return
    if call.caller.kind == "anonymous":
        raise Unauthenticated("What programs outside tell of their jobs and agents is for those who signed in.")
    if settings.jwt_org_claim is not None:
        raise AccessDenied  # nobody knows of which organisation it is
