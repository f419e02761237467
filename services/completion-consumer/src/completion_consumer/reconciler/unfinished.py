"""Everything that the reconciler looks at in a round, and how much of it is left."""

from datetime import timedelta

from sluiceway.store import Store

from completion_consumer.reconciler.due_erasures import DueErasures
from completion_consumer.reconciler.forgotten_ends import ForgottenEnds
from completion_consumer.reconciler.lost_turns import LostTurns
from completion_consumer.reconciler.retention import Retention
from completion_consumer.reconciler.round import Round
from completion_consumer.reconciler.silent_agent_streams import SilentAgentStreams
from completion_consumer.reconciler.stored_files import StoredFiles
from completion_consumer.reconciler.unfinished_operations import PUBLISHING, UnfinishedOperations
from completion_consumer.reconciler.unfinished_turns import UnfinishedTurns


class Unfinished:
    def __init__(
        self,
        store: Store,
        lost: LostTurns,
        forgotten: ForgottenEnds,
        turns: UnfinishedTurns,
        operations: UnfinishedOperations,
        agent_streams: SilentAgentStreams,
        erasures: DueErasures,
        retention: Retention,
        files: StoredFiles,
        *,
        finalize_after: timedelta,
    ) -> None:
        self._store = store
        self._lost = lost
        self._forgotten = forgotten
        self._turns = turns
        self._operations = operations
        self._agent_streams = agent_streams
        self._erasures = erasures
        self._retention = retention
        self._files = files
        self._finalize_after = finalize_after

    async def look(self, current: Round) -> dict[str, int]:
        """By kind, how much is left to the next round. Raises LeadershipLost."""
        await self._turns.look(current)
        await self._operations.look(current)
        await self._lost.look(current)
        await self._forgotten.look(current)
        await self._agent_streams.look(current)
        await self._erasures.look(current)
        await self._retention.look(current)
        await self._files.look(current)
        backlog: dict[str, int] = {}

        async def count(_: Round) -> None:
            backlog.update(await self._count())

        await current.part("backlog", count)
        return backlog

    async def _count(self) -> dict[str, int]:
        return await self._store.backlog.count(
            ended_for=self._finalize_after,
            received_for=PUBLISHING,
            live_after=self._turns.looked_at,
            unfinished_after=self._operations.looked_at,
        )
