"""What a server lists and answers, before the library reads it. The library refuses a whole listing for one tool that
is not as the protocol wants it, and then nothing of that server could be called.

Guarantees: what the library would refuse is taken out of a listing before the library reads it, and is said, with why
(the place and the kind of the fault, nothing that the server wrote but the tool's name); the other tools, and every
other message, pass as they are. A result of too many pieces becomes an error, and of a listing that is too long no more
is read than tells that it is. The library does not learn what tools say of their results, and checks none of them.
"""

from typing import Any

import mcp_types.methods
from mcp import types
from mcp.shared.message import SessionMessage
from pydantic import ValidationError
from sluiceway.wire.json_values import clean_text

from tool_runner.mcp.limits import MAX_BLOCKS, TOO_LARGE

_LIST = "tools/list"
_MAX_NAME_CHARS = 64
_MOST_FAULTS = 3
MAX_LISTED = 1000


class ListedTools:
    """`version`: the protocol that was agreed upon. `refused`: what was taken out since `begin`, with why. `results`:
    what its tools say of their results, by their names."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.refused: dict[str, str] = {}
        self.results: dict[str, Any] = {}

    def begin(self) -> None:
        """A listing begins; it may have several pages."""
        self.refused, self.results = {}, {}

    def look(self, message: object) -> None:
        """Take out of a message what is no tool. Only a listing has a list of `tools`."""
        answer = message.message if isinstance(message, SessionMessage) else None
        if not isinstance(message, SessionMessage) or not isinstance(answer, types.JSONRPCResponse):
            return
        result = answer.result
        if isinstance(result.get("tools"), list):
            tools = result["tools"][: MAX_LISTED + 1]
            result["tools"] = [tool for tool in tools if len(tools) > MAX_LISTED or self._is_fit(tool, result)]
            for tool in result["tools"]:
                self._take_result(tool)
        elif any(_has_too_many(one) for one in (result, result.get("result"))):
            refusal = types.ErrorData(code=types.PARSE_ERROR, message=TOO_LARGE)
            message.message = types.JSONRPCError(jsonrpc="2.0", id=answer.id, error=refusal)

    def _take_result(self, tool: Any) -> None:
        schema = tool.pop("outputSchema", None) if isinstance(tool, dict) else None
        if schema is not None:
            self.results[str(tool.get("name"))] = schema

    def _is_fit(self, tool: Any, listing: dict[str, Any]) -> bool:
        alone = {**listing, "tools": [tool]}
        try:
            mcp_types.methods.validate_server_result(_LIST, self.version, alone)
            types.ListToolsResult.model_validate(alone, by_name=False)
        except ValidationError as error:
            faults = [fault for fault in error.errors(include_input=False) if fault["loc"][:1] == ("tools",)]
            if not faults:
                return True  # the listing's own: it is for the library to say
            self.refused[_name_of(tool)] = "; ".join(map(_said, faults[:_MOST_FAULTS]))
            return False
        except (RecursionError, ValueError):
            self.refused[_name_of(tool)] = "nested too deep"
            return False
        return True


def _has_too_many(result: object) -> bool:
    content = result.get("content") if isinstance(result, dict) else None
    return isinstance(content, list) and len(content) > MAX_BLOCKS


def _said(fault: Any) -> str:
    where = ".".join(str(place) for place in fault["loc"][2:]) or "tool"
    return clean_text(f"{where}: {fault['msg']}"[:200])


def _name_of(tool: Any) -> str:
    name = tool.get("name") if isinstance(tool, dict) else None
    return clean_text(name[:_MAX_NAME_CHARS]) if isinstance(name, str) and name else "(without a name)"
