"""Direct tool use: a message `/tool_name {json or text}` runs that tool without asking the model first."""

import json
import re
from collections.abc import Mapping

from sluiceway.ids import ANONYMOUS_PREFIX, new_tool_call_id
from sluiceway.wire.tools import ToolSpec

from chat_worker.calls import AskedCall, check_arguments

# A path such as /usr/bin is no tool.
_COMMAND = re.compile(r"/([A-Za-z][A-Za-z0-9_-]{0,63})(?:\s+(.*))?\s*", re.DOTALL)
SIGN_IN = "Tools are run by `/name` for those who have signed in. Ask for what you need in words."
_LIST = ("tools", "help")


def read_command(text: str) -> tuple[str, str] | None:
    """The tool's name and the rest of the message; None where the message is no such command."""
    found = _COMMAND.fullmatch(text.strip())
    return (found[1], (found[2] or "").strip()) if found else None


def has_signed_in(user_id: str | None) -> bool:
    """Not: where nobody has to sign in, and people whom a gateway knows by a cookie alone."""
    return user_id is not None and not user_id.startswith(ANONYMOUS_PREFIX)


def to_call(name: str, rest: str, offered: Mapping[str, ToolSpec]) -> AskedCall | str:
    """The call, or a helpful answer to the user where there can be none."""
    spec = offered.get(name)
    if spec is None:
        return _list_of(offered) if name in _LIST else f"There is no tool `/{name}`. {_list_of(offered)}"
    arguments = _as_json(rest)
    if arguments is None and rest:
        if spec.text_field is None:
            return f"`/{name}` takes its arguments as JSON.\n\n{usage_of(spec)}"
        arguments = {spec.text_field: rest}
    arguments = arguments or {}
    problem = check_arguments(spec, arguments)
    if problem is not None:
        return f"`/{name}` cannot be run with that: {problem.message}\n\n{usage_of(spec)}"
    return AskedCall(new_tool_call_id(), name, [json.dumps(arguments)])


def usage_of(spec: ToolSpec) -> str:
    """What a tool does and takes, with an example, in Markdown."""
    properties = spec.parameters.get("properties", {})
    required = spec.parameters.get("required", [])
    lines = [f"{spec.description}", ""]
    for field, schema in properties.items():
        kind = schema.get("type", "any") if isinstance(schema, dict) else "any"
        told = schema.get("description", "") if isinstance(schema, dict) else ""
        need = "" if field in required else ", may be left out"
        lines.append(f"- `{field}` ({kind}{need}){': ' if told else ''}{told}")
    example = {field: "…" for field in properties if field in required}
    lines += ["", f"Example: `/{spec.name} {json.dumps(example, ensure_ascii=False)}`"]
    if spec.text_field is not None:
        lines[-1] += f", or with the text alone: `/{spec.name} …`"
    return "\n".join(lines)


def _list_of(offered: Mapping[str, ToolSpec]) -> str:
    if not offered:
        return "No tools are offered at the moment."
    lines = [f"- `/{spec.name}`: {spec.description.splitlines()[0]}" for spec in offered.values()]
    return "\n".join(["These tools are offered:", "", *lines])


def _as_json(text: str) -> dict[str, object] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
