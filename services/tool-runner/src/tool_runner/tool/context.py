"""What a running tool may use: who called it, how to say how far it is, and the clients that the process has."""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
from redis.asyncio import Redis
from sluiceway.feeds.agent_events import AgentStreams
from sluiceway.feeds.job_events import JobEventPublisher
from sluiceway.wire.events import Data
from sluiceway.wire.message import Part
from sluiceway_llm.calling.model import Model

from tool_runner.settings import Settings
from tool_runner.tool.callbacks import Callback, Callbacks
from tool_runner.tool.charging import Charge, nothing_charged
from tool_runner.tool.conversation import (
    MAX_MESSAGES,
    ReadConversation,
    Said,
    WriteDown,
    nothing_said,
    nothing_written,
)
from tool_runner.tool.files import KeepFile, no_files
from tool_runner.tool.progress import Progress


@dataclass(frozen=True, slots=True)
class ToolContext:
    """One run of a tool. `attempt` counts the runs of this operation from 1; `traceparent` goes to other services.
    `deadline_at` is a moment of Postgres's clock, to be passed on; ask `seconds_left` how long there is.

    `http` follows no redirects, keeps no cookies and trusts every address: it is for services named in settings, never
    for an address that a model chose. `redis` answers bytes.

    `callback`: where an outside service tells how the operation ended, when this tool answers `Accepted()`; None where
    PUBLIC_URL or WEBHOOK_SECRETS is not set. `callback_url`, `progress_url` and `secret` are its members.
    """

    operation_id: str
    task_id: str
    session_id: str
    tool_call_id: str
    user_id: str | None
    attempt: int
    deadline_at: datetime
    # Of time.monotonic(): this machine's clock may differ from the one that `deadline_at` was written by.
    ends_at: float
    settings: Settings
    model: Model
    model_name: str
    http: httpx.AsyncClient
    redis: Redis
    job_events: JobEventPublisher
    agents: AgentStreams
    reporter: Progress
    traceparent: str | None = None
    callback: Callback | None = None
    callbacks: Callbacks | None = field(default=None, repr=False)
    read_conversation: ReadConversation = field(default=nothing_said, repr=False)
    charge: Charge = field(default=nothing_charged, repr=False)
    write_down: WriteDown = field(default=nothing_written, repr=False)
    keep: KeepFile = field(default=no_files, repr=False)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop, repr=False)

    @property
    def callback_url(self) -> str | None:
        return self.callback.callback_url if self.callback is not None else None

    @property
    def progress_url(self) -> str | None:
        return self.callback.progress_url if self.callback is not None else None

    @property
    def secret(self) -> str | None:
        return self.callback.secret if self.callback is not None else None

    async def conversation(self, max_messages: int = MAX_MESSAGES) -> list[Said]:
        """What was said before this answer, oldest first; the newest of it, up to 100 messages and 200,000 characters.

        Raises StoreUnavailable.
        """
        return await self.read_conversation(min(max(0, max_messages), MAX_MESSAGES))

    async def remember(self, name: str, fact: str | None) -> int | None:
        """Write down a fact about the person, or, with None, that it is none any more; how many there are then. None:
        the conversation is temporary, and nothing was written.

        Raises UnderstandingTooLarge, StoreUnavailable.
        """
        return await self.write_down(name, fact)

    async def keep_file(self, name: str, content: bytes, media_type: str | None = None) -> Part:
        """Keep a file with the conversation; a part that names it, for the tool's result: the page shows it there, and
        the model is told its name and address. Its type is what its content says.

        Raises FileTooLarge, FileTypeRefused, FileQuotaReached, FilesUnavailable, StoreUnavailable.
        """
        return await self.keep(name, content, media_type)

    async def progress(self, percent: float | None = None, message: str | None = None, data: Any = None) -> None:
        """Say how far it is; `percent` of 100. At most a few a second are shown, the latest ones. Never raises."""
        self.reporter.report(percent, message, data)

    def progress_nowait(self, percent: float | None = None, message: str | None = None, data: Any = None) -> None:
        """The same for synchronous tools, from any thread."""
        with contextlib.suppress(RuntimeError):  # the process is ending
            self._loop.call_soon_threadsafe(self.reporter.report, percent, message, data)

    async def show(self, event: Data) -> None:
        """Add a `data-` part to the answer, or replace the one with the same id. Never raises."""
        self.reporter.show(event)

    def show_nowait(self, event: Data) -> None:
        """The same for synchronous tools, from any thread."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.reporter.show, event)

    @property
    def cancelled(self) -> bool:
        """Whether the result is not wanted any more: for synchronous tools, which cannot be interrupted."""
        return self.reporter.closed

    @property
    def seconds_left(self) -> float:
        """Until the operation's deadline; below 0: it has passed."""
        return self.ends_at - time.monotonic()
