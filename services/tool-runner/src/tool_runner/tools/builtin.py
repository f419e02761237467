"""The tools that come with the runner."""

from sluiceway.process.logs import get_logger

from tool_runner.settings import Settings
from tool_runner.tool.callbacks import Callbacks
from tool_runner.tool.definition import AnyTool
from tool_runner.tools.current_time import CurrentTime
from tool_runner.tools.generate_document import generate_document
from tool_runner.tools.generate_outline import generate_outline
from tool_runner.tools.http_operation import HttpOperation
from tool_runner.tools.remember import Remember
from tool_runner.tools.run_agents import run_agents
from tool_runner.tools.web_fetch import WebFetch


def builtin_tools(settings: Settings) -> list[AnyTool]:
    """In the order in which they are offered. `http_operation` is there when all of its settings are."""
    tools: list[AnyTool] = [
        CurrentTime(),
        WebFetch(settings),
        Remember(),
        generate_outline,
        generate_document,
        run_agents,
    ]
    callbacks = Callbacks.from_settings(settings)
    if settings.http_operations and callbacks is not None:
        deadline_seconds = settings.http_operation_deadline_seconds
        tools.append(HttpOperation(settings.http_operations, callbacks, deadline_seconds))
    elif settings.http_operations:
        get_logger().warning("http_operation_not_offered", reason="it needs PUBLIC_URL and WEBHOOK_SECRETS")
    return tools
