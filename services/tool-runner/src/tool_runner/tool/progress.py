"""What a running tool says of itself, on its way to the browser: preliminary outputs, `data-` parts and job events.

Guarantees
- Saying something never waits and never raises. What cannot be shown is logged and dropped.
- At most one progress each PERIOD_SECONDS is shown, the latest; parts are all shown, in their order, unless Redis is
  away or more than MAX_PARTS of them wait.
- What a tool says that does not block its turn, while that runs, is shown when it waits.
- Numbers grow over the attempts of an operation: what a dead runner's last words were replaces nothing newer.
Not guaranteed: that the last progress before the end is shown; the result takes its place anyway.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any

from pydantic_core import PydanticSerializationError, to_jsonable_python
from sluiceway.errors import JobEventError, RedisUnavailable
from sluiceway.feeds.job_events import JobEventPublisher
from sluiceway.process.logs import get_logger
from sluiceway.store.records import Operation
from sluiceway.stream.operation_output import OperationOutput
from sluiceway.wire.events import Data, Event, ToolOutputAvailable
from sluiceway.wire.json_values import clean_json

PERIOD_SECONDS = 0.2
_TURN_RUNS_SECONDS = 0.5
MAX_PARTS = 1000
_MAX_MESSAGE_CHARS = 2000
_MAX_DATA_CHARS = 100_000
_MAX_ID_CHARS = 200
_NUMBERS_AN_ATTEMPT = 1_000_000
_LAST_SECONDS = 5.0


class Progress:
    """The reporter of one run. `ended` is called when the turn has ended and the work is for nobody. `job_events`: of a
    tool whose progress is told there too. Methods belong to the event loop's thread."""

    def __init__(
        self,
        output: OperationOutput,
        operation: Operation,
        ended: Callable[[], None],
        job_events: JobEventPublisher | None = None,
    ) -> None:
        self._output = output
        self._operation = operation
        self._ended = ended
        self._job_events = job_events
        self._number = operation.attempt * _NUMBERS_AN_ATTEMPT
        self._latest: dict[str, Any] | None = None
        self._published: dict[str, Any] | None = None
        self._parts: list[Data] = []
        self._showing: asyncio.Task[None] | None = None
        self._finishing = asyncio.Event()
        self.closed = False

    def report(self, percent: float | None, message: str | None, data: Any) -> None:
        """Take the place of what was said before and not yet shown."""
        self._latest = _output(percent, message, data)
        self._wake()

    def show(self, part: Data) -> None:
        fit = _fit(part)
        if fit is None or len(self._parts) >= MAX_PARTS:
            get_logger().warning("part_dropped", type=part.type, waiting=len(self._parts))
            return
        self._parts.append(fit)
        self._wake()

    async def finish(self) -> None:
        """Show the parts that were not shown yet. For the end, before the result is told."""
        self._finishing.set()
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                if self._showing is not None:
                    await self._showing
                await self._send([])
        except TimeoutError:
            get_logger().warning("parts_dropped", waiting=len(self._parts))

    def close(self) -> None:
        """Nothing that is said from here on is wanted."""
        self.closed = True
        if self._showing is not None:
            self._showing.cancel()

    def _wake(self) -> None:
        if self._showing is None and not (self.closed or self._finishing.is_set()):
            self._showing = asyncio.create_task(self._show_all(), name=f"progress-{self._operation.id}")
            self._showing.add_done_callback(self._rest)

    def _rest(self, _: "asyncio.Task[None]") -> None:
        self._showing = None
        if self._latest is not None or self._parts:
            self._wake()

    async def _show_all(self) -> None:
        """Show what there is, once, and keep the next ones waiting for a period."""
        latest, self._latest = self._latest, None
        refused = not await self._send(self._preliminary(latest))
        if latest is not None and latest is not self._published:
            self._published = latest
            await self._publish(latest)
        if refused and self._latest is None:
            self._latest = latest
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TURN_RUNS_SECONDS if refused else PERIOD_SECONDS):
                await self._finishing.wait()

    def _preliminary(self, output: dict[str, Any] | None) -> list[Event]:
        if output is None:
            return []
        return [ToolOutputAvailable(tool_call_id=self._operation.tool_call_id, output=output, preliminary=True)]

    async def _send(self, preliminary: Sequence[Event]) -> bool:
        """False: its turn runs, which it does not block; parts wait on then."""
        parts, self._parts = self._parts, []
        if self.closed or not (parts or preliminary):
            return True
        self._number += 1
        try:
            said = await self._output.show(
                self._operation.task_id, self._operation.id, [*parts, *preliminary], number=self._number
            )
        except RedisUnavailable as error:
            get_logger().warning("progress_not_shown", reason=str(error))
            return True
        if said == "ended":
            self._ended()
        refused = said == "refused" and self._operation.background
        if refused:
            self._parts = [*parts, *self._parts]
        return not refused

    async def _publish(self, output: dict[str, Any]) -> None:
        """As a job event, which is nothing to fail for; the publisher has logged why."""
        if self._job_events is None or self.closed:
            return
        said = {name: output[name] for name in ("percent", "message", "data") if name in output}
        with contextlib.suppress(JobEventError):
            await self._job_events.publish_task_progress(
                self._operation.id, self._operation.tool_name, said.get("percent", said.get("message", "")), **said
            )


def _output(percent: float | None, message: str | None, data: Any) -> dict[str, Any]:
    """The preliminary output: what is absent is left out."""
    output: dict[str, Any] = {"status": "running"}
    # An integer may be larger than any float.
    if isinstance(percent, int) or (isinstance(percent, float) and math.isfinite(percent)):
        output["percent"] = min(100, max(0, percent))
    if message is not None:
        output["message"] = str(message)[:_MAX_MESSAGE_CHARS]
    if data is not None:
        output |= _data(data)
    cleaned: dict[str, Any] = clean_json(output)
    return cleaned


def _fit(part: Data) -> Data | None:
    """The part as everybody takes it; None: it is no JSON, or too large."""
    told = _data(part.data)
    part_id = part.id if part.id is None else clean_json(part.id)[:_MAX_ID_CHARS]
    return part.model_copy(update={"data": clean_json(told["data"]), "id": part_id}) if told else None


def _data(data: Any) -> dict[str, Any]:
    try:
        plain = to_jsonable_python(data)
        if len(str(plain)) <= _MAX_DATA_CHARS:
            return {"data": plain}
        get_logger().warning("progress_data_dropped", reason="too large")
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        get_logger().warning("progress_data_dropped", reason=str(error)[:200])
    return {}
