"""Where the agents of one operation are seen and heard: its agent stream, and `data-agent` parts of the answer.

Guarantees: each event is shown in the conversation under its number, so a repeat of the operation replaces what its
predecessor showed; it is the number that it has in the stream, unless one got lost there. The stream ends whatever
happens, with `complete`, or with `error` before its end. Trouble with the stream was logged by its publisher, and never
harms the work, nor holds it up for more than a moment: the conversation sees the agents still.
"""

import asyncio
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from sluiceway.errors import AgentEventError, AgentEventUnavailable, RedisUnavailable
from sluiceway.feeds.agent_events import PublishedType
from sluiceway.process.logs import get_logger
from sluiceway.wire.events import Data

from tool_runner.tool.definition import ToolContext, ToolFailed

TEAM = "team"
"""The name that events of nobody in particular have."""
_LAST_WORD_SECONDS = 0.4
"""Who was cancelled has a second in all, and the request to the model has to be closed, too."""
_AWAY_SECONDS = 5.0
"""How long not to try after Redis was away: each try takes its time before it gives up."""


class AgentStage:
    """`async with AgentStage(context) as stage`; the stream's id is the operation's."""

    def __init__(self, context: ToolContext) -> None:
        self._context = context
        self._generation: int | None = None
        self._sequence = 0
        self._away_until = 0.0
        self._on_stage = TEAM
        self._renewer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        try:
            self._generation = await self._context.agents.create(self._context.operation_id, self._context.user_id)
        except (AgentEventError, RedisUnavailable) as error:
            get_logger().warning("agent_stream_not_created", reason=str(error))
        else:
            # A model may think for long, and its agent says nothing meanwhile.
            renewing = self._context.agents.keep_alive(self._context.operation_id, self._generation)
            self._renewer = asyncio.create_task(renewing, name="agent-stream-renewer")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._renewer is not None:
            self._renewer.cancel()
        if isinstance(error, asyncio.CancelledError):
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORD_SECONDS):
                    await self._end("error", "It was stopped.")
        elif error is not None:
            # Other errors are mistakes of ours, and may quote anything.
            await self._end("error", str(error) if isinstance(error, ToolFailed) else "It failed unexpectedly.")
        else:
            self._on_stage = TEAM
            await self._end("complete", "The team is done.")

    async def say(self, agent_name: str, event_type: PublishedType, content: str, **metadata: Any) -> None:
        """One event of an agent, who is on the stage from now on."""
        self._on_stage = agent_name
        self._sequence += 1
        await self._publish(event_type, content, metadata)
        operation_id = self._context.operation_id
        told = {
            "agent_name": agent_name,
            "event_type": event_type,
            "content": content,
            "sequence": self._sequence,
            "operation_id": operation_id,
        }
        await self._context.show(Data(type="data-agent", id=f"{operation_id}-{self._sequence}", data=told))

    async def _publish(self, event_type: PublishedType, content: str, metadata: dict[str, Any]) -> None:
        if self._generation is None or time.monotonic() < self._away_until:
            return
        streams, operation_id = self._context.agents, self._context.operation_id
        try:
            await streams.publish(
                operation_id, self._on_stage, event_type, content, metadata, generation=self._generation
            )
        except AgentEventUnavailable:
            self._away_until = time.monotonic() + _AWAY_SECONDS
        except AgentEventError:
            pass

    async def _end(self, event_type: PublishedType, content: str) -> None:
        await self.say(self._on_stage, event_type, content)
        if self._generation is None:
            return
        try:
            await self._context.agents.close(self._context.operation_id, generation=self._generation)
        except RedisUnavailable as error:
            get_logger().warning("agent_stream_not_closed", reason=str(error))
