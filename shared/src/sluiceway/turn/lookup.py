"""Finding a turn for its follower. Redis answers for what it knows, without Postgres."""

from dataclasses import dataclass

from sluiceway.errors import TaskExpired, TaskNotFound
from sluiceway.store import Store
from sluiceway.store.sessions.sessions import check_owner
from sluiceway.stream.registry import TaskRegistry
from sluiceway.stream.task_meta import TaskMeta
from sluiceway.wire.task import Status


@dataclass(frozen=True, slots=True)
class Followed:
    """A task that its caller may follow. `meta` is None while Redis does not know it (it waits in Postgres)."""

    task_id: str
    session_id: str
    message_id: str
    status: Status
    meta: TaskMeta | None


class TurnLookup:
    def __init__(self, store: Store, registry: TaskRegistry) -> None:
        self._store = store
        self._registry = registry

    async def find(self, task_id: str, user_id: str | None) -> Followed:
        """The task, for its owner.

        Raises TaskNotFound, TaskExpired (ended, and its stream is gone), AccessDenied.
        """
        meta = await self._registry.meta(task_id)
        if meta is not None:
            check_owner(meta.user_id, user_id)
            return Followed(meta.task_id, meta.session_id, meta.message_id, meta.status, meta)
        task = await self._store.turns.get(task_id)
        if task is None:
            raise TaskNotFound
        check_owner(task.user_id, user_id)
        if task.ended and task.settled_at is not None:
            raise TaskExpired
        return Followed(task.id, task.session_id, task.message_id, task.status, None)

    async def active(self, session_id: str, user_id: str | None) -> Followed | None:
        """The session's running turn, for its owner; None when nothing runs or the session is unknown.

        One or two reads of Redis when it knows; Postgres where it does not.
        """
        task_id = await self._registry.active(session_id)
        meta = await self._registry.meta(task_id) if task_id is not None else None
        if meta is not None and not meta.ended:
            check_owner(meta.user_id, user_id)
            return Followed(meta.task_id, meta.session_id, meta.message_id, meta.status, meta)
        task = await self._store.sessions.active_task(session_id)
        if task is None or task.ended:
            return None
        check_owner(task.user_id, user_id)
        return Followed(task.id, task.session_id, task.message_id, task.status, await self._registry.meta(task.id))
