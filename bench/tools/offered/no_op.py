"""The tool of these benchmarks: it does nothing, and answers when it did."""

import time

from tool_runner.tool import tool


@tool(repeatable=True)
async def no_op() -> dict[str, float]:
    """Do nothing."""
    began_at = time.monotonic()
    return {"began_at": began_at, "ended_at": time.monotonic()}
