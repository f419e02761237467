"""One run of one tool, from its arguments to its outcome.

Guarantees
- `run` answers an outcome, whatever the tool does: raises, hangs, calls sys.exit, or returns nonsense.
- It answers at its timeout at the latest, and a moment after `cancel`. What runs on in spite of being cancelled is
  abandoned, counted and logged.
Not guaranteed: anything against a tool that kills the process, or that blocks the event loop; the lease is there for
these.
"""

import asyncio
import inspect
from typing import Any

from pydantic import ValidationError
from sluiceway.process.logs import get_logger

from tool_runner.runner.results import (
    Elicits,
    Failed,
    Outcome,
    Unwanted,
    failed,
    invalid_arguments,
    outcome_of,
    outcome_of_error,
)
from tool_runner.tool.definition import AnyTool, ToolContext, ToolFailed
from tool_runner.tool.threads import run_in_thread

_GRACE_SECONDS = 1.0

_abandoned: set["asyncio.Task[Any]"] = set()


def abandoned_tasks() -> int:
    """How many tools run on although they were cancelled."""
    return len(_abandoned)


class Run:
    """`cancel` may be called at any time, also before `run`, and says that nobody wants the outcome."""

    def __init__(self, tool: AnyTool) -> None:
        self._tool = tool
        self._unwanted = asyncio.Event()

    def cancel(self) -> None:
        self._unwanted.set()

    @property
    def unwanted(self) -> bool:
        return self._unwanted.is_set()

    async def run(self, raw_arguments: Any, context: ToolContext, seconds: float, max_bytes: int) -> Outcome:
        """`seconds`: for the tool; `max_bytes`: of its result as JSON."""
        try:
            arguments = self._tool.read(raw_arguments)
        except ValidationError as error:
            return invalid_arguments(self._tool.name, error)
        except Exception as error:  # noqa: BLE001 - somebody's validator
            return outcome_of_error(error)
        work = asyncio.create_task(self._guarded(arguments, context, max_bytes), name=f"tool-{self._tool.name}")
        unwanted = asyncio.create_task(self._unwanted.wait(), name="unwanted")
        try:
            await asyncio.wait({work, unwanted}, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
            if self.unwanted:
                return Unwanted()
            if work.done() and not work.cancelled():
                return work.result()
            return self._timed_out(seconds) if not work.done() else failed("FAILED", "The tool cancelled itself.")
        finally:
            unwanted.cancel()
            await _stopped(work)

    async def _guarded(self, arguments: Any, context: ToolContext, max_bytes: int) -> Outcome:
        try:
            outcome = outcome_of(await self._call(arguments, context), max_bytes)
            # Only of work that its service has already a person can be asked.
            return Failed(outcome.unanswerable) if isinstance(outcome, Elicits) else outcome
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - also SystemExit: a tool that leaves takes nobody along
            self._log_failure(error)
            return outcome_of_error(error)

    async def _call(self, arguments: Any, context: ToolContext) -> Any:
        if inspect.iscoroutinefunction(self._tool.run):
            return await self._tool.run(arguments, context)
        return await run_in_thread(self._tool.run, arguments, context)

    def _timed_out(self, seconds: float) -> Failed:
        get_logger().warning("tool_timed_out", seconds=round(seconds, 1))
        return failed("TIMEOUT", f"The tool did not end within {seconds:.0f} seconds. It was stopped.")

    def _log_failure(self, error: BaseException) -> None:
        if isinstance(error, ToolFailed):
            get_logger().info("tool_failed", type=error.type)
        else:
            get_logger().error("tool_raised", error=type(error).__name__, exc_info=error)


async def _stopped(work: "asyncio.Task[Outcome]") -> None:
    """Cancel the tool and give it a moment to clean up."""
    if work.done():
        return
    work.cancel()
    await asyncio.wait({work}, timeout=_GRACE_SECONDS)
    if not work.done():
        _abandoned.add(work)
        work.add_done_callback(_abandoned.discard)
        get_logger().warning("tool_abandoned", abandoned=len(_abandoned))
