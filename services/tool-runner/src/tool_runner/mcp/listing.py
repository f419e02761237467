"""The tools that a server lists, one by one: the library refuses a whole listing for one tool that is not as the
protocol wants it, and then nothing of that server could be called.

Guarantees: what the library would refuse is taken out of a listing before the library reads it, and is said, with why
(the place and the kind of the fault, nothing that the server wrote but the tool's name); the other tools, and every
other message, pass as they are.
"""

from typing import Any

import mcp_types.methods
from mcp import types
from mcp.shared.message import SessionMessage
from pydantic import ValidationError
from sluiceway.wire.json_values import clean_text

_LIST = "tools/list"
_MAX_NAME_CHARS = 64
_MOST_FAULTS = 3


class ListedTools:
    """`version`: the protocol that was agreed upon. `refused`: what was taken out since `begin`, with why."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.refused: dict[str, str] = {}

    def begin(self) -> None:
        """A listing begins; it may have several pages."""
        self.refused = {}

    def look(self, message: object) -> None:
        """Take out of a message what is no tool. Only a listing has a list of `tools`."""
        answer = message.message if isinstance(message, SessionMessage) else None
        if isinstance(answer, types.JSONRPCResponse) and isinstance(answer.result.get("tools"), list):
            result = answer.result
            result["tools"] = [tool for tool in result["tools"] if self._is_fit(tool, result)]

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


def _said(fault: Any) -> str:
    where = ".".join(str(place) for place in fault["loc"][2:]) or "tool"
    return clean_text(f"{where}: {fault['msg']}"[:200])


def _name_of(tool: Any) -> str:
    name = tool.get("name") if isinstance(tool, dict) else None
    return clean_text(name[:_MAX_NAME_CHARS]) if isinstance(name, str) and name else "(without a name)"
