"""What a server says about how far a call is, as progress of its operation."""

import math

from tool_runner.tool.context import ToolContext


class ProgressOf:
    """Passes on what the server says about how far a call is. What comes late, or goes back, is not passed on."""

    def __init__(self, context: ToolContext) -> None:
        self._context = context
        self._seen = -math.inf
        self._open = False

    def begin(self) -> None:
        self._seen = -math.inf
        self._open = True

    def end(self) -> None:
        self._open = False

    def said(self, progress: float, total: float | None, message: str | None) -> None:
        if not self._open or not progress >= self._seen:
            return
        self._seen = progress
        self._context.reporter.report(_percent(progress, total), message, None)


def _percent(progress: float, total: float | None) -> float | None:
    if total is None or not math.isfinite(total) or not math.isfinite(progress) or total <= 0:
        return None
    return min(100.0, max(0.0, 100 * progress / total))
