"""What a tool is written with: the public face of this package."""

from tool_runner.tool.definition import Accepted, NoArguments, Tool, ToolContext, ToolFailed, tool

__all__ = ["Accepted", "NoArguments", "Tool", "ToolContext", "ToolFailed", "tool"]
