"""The reconciler's look at agent streams: one whose publisher has gone is ended, so that its followers wait no longer.

A publisher that lives publishes, or says that it is alive (`AgentStreams.keep_alive`). A stream of which nothing was
heard for `silence` gets its `connection_end`. Times are Redis's.
"""

from datetime import timedelta

from sluiceway.feeds.agent_events import AgentStreams
from sluiceway.process.logs import get_logger

from completion_consumer.reconciler.round import Round

_PAGE = 200


class SilentAgentStreams:
    def __init__(self, agents: AgentStreams, *, silence: timedelta) -> None:
        self._agents = agents
        self._silence = silence
        self._log = get_logger()

    async def look(self, current: Round) -> None:
        """Raises LeadershipLost."""
        await current.part("agent_streams", self._close_silent)

    async def _close_silent(self, current: Round) -> None:
        silent = await self._agents.silent(self._silence, _PAGE)
        await current.each("agent_streams", {task_id: task_id for task_id in silent}, self._close)

    async def _close(self, task_id: str) -> str | None:
        if not await self._agents.close_silent(task_id, self._silence):
            return None
        self._log.warning("agent_stream_closed", task_id=task_id, silent_seconds=self._silence.total_seconds())
        return "agent_stream_closed"
