"""What strict servers refuse, by name; each in the words of one that does.

alternate          user and assistant do not take turns, or an assistant begins (results stand with their calls)
alternate_silent   the same, without a reason
no_user_after_tool a user speaks behind results
tools_with_calls   messages have calls, and the request has no tools
ids_nine, ids_forty  ids of calls that are not nine letters and digits; that are longer than forty characters
pairs              a call without a result, or a result without a call
names              names beyond ^[a-zA-Z0-9_-]{1,64}$
no_tools           tools, or messages with calls
no:PARAMETER       that parameter
max_completion_tokens  max_tokens instead of it
plain_schemas      $ref, $defs, additionalProperties in tools' schemas
back:FIELD         an assistant's calls without the FIELD that was streamed with them (in the message or in a call)
thoughts_everywhere  an assistant's message without reasoning_content
signed             calls of which none has Gemini's signature
no_back:FIELD      a message that has the FIELD
no_system          a system message
no_null            a message without content, also where it has calls
no_stream          a request for a stream
most_tools:NUMBER  more tools than that
filled             messages that say nothing and call nothing
begins             a first message, behind the system's, that is not a user's
effort_with_tools  tools, unless reasoning_effort is "none" (OpenAI's newer models, in chat requests)
efforts:A,B        a reasoning_effort that is none of these
window:TOKENS      more than so many tokens, of four characters each, and five for each message
"""

import json
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

Body = dict[str, Any]

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")
_NINE = re.compile(r"[a-zA-Z0-9]{9}\Z")


def refusal_for(rules: list[str], body: Body) -> tuple[int, Any] | None:
    """Status and body of the refusal; None where the request is fine."""
    for rule in rules:
        name, _, argument = rule.partition(":")
        message = _RULES[name](body, argument)
        if message is not None:
            error: Body = {"message": message, "type": "invalid_request_error", "code": None}
            return (400, {"error": error}) if message else (400, {})
    return None


def _alternate(body: Body, _: str) -> str | None:
    roles = [one["role"] for one in _messages(body) if one["role"] not in ("system", "tool")]
    expected = ["user", "assistant"] * len(roles)
    calls = [one for one in _messages(body) if one.get("tool_calls")]
    if calls:  # each message with calls and its results are one turn together with what follows them
        roles = _without_calls(_messages(body))
    return None if roles == expected[: len(roles)] else "Conversation roles must alternate user/assistant/user/…"


def _without_calls(messages: list[Body]) -> list[str]:
    roles: list[str] = []
    for place, one in enumerate(messages):
        if one["role"] in ("system", "tool"):
            continue
        if one.get("tool_calls") and place + 1 < len(messages) and messages[place + 1]["role"] != "tool":
            return ["no result"]
        if one["role"] == "assistant" and roles and roles[-1] == "assistant" and messages[place - 1]["role"] == "tool":
            continue
        roles.append(one["role"])
    return roles


def _no_user_after_tool(body: Body, _: str) -> str | None:
    roles = [one["role"] for one in _messages(body)]
    found = ("tool", "user") in pairwise(roles)
    return "Unexpected role 'user' after role 'tool'" if found else None


def _alternate_silent(body: Body, _: str) -> str | None:
    return None if _alternate(body, "") is None else ""


def _tools_with_calls(body: Body, _: str) -> str | None:
    return "tools: field required where messages have tool_calls" if _calls(body) and not body.get("tools") else None


def _ids(fits: Callable[[str], object], message: str) -> Callable[[Body, str], str | None]:
    def check(body: Body, _: str) -> str | None:
        ids = [call["id"] for call in _calls(body)]
        ids += [one["tool_call_id"] for one in _messages(body) if one["role"] == "tool"]
        return next((message.format(told) for told in ids if not fits(told)), None)

    return check


def _pairs(body: Body, _: str) -> str | None:
    waiting: list[str] = []
    for one in _messages(body):
        if one["role"] == "tool":
            if one["tool_call_id"] not in waiting:
                return "a tool message must follow its call"
            waiting.remove(one["tool_call_id"])
            continue
        if waiting:
            return "tool_calls must be followed by tool messages"
        waiting = [call["id"] for call in one.get("tool_calls") or ()]
    return "tool_calls must be followed by tool messages" if waiting else None


def _names(body: Body, _: str) -> str | None:
    names = [call["function"]["name"] for call in _calls(body)]
    names += [tool["function"]["name"] for tool in body.get("tools") or ()]
    bad = [name for name in names if not _NAME.match(name)]
    return f"Invalid 'messages[1].tool_calls[0].function.name': {bad[0]!r} does not match the pattern" if bad else None


def _no_tools(body: Body, _: str) -> str | None:
    return f"{body['model']} does not support tools" if body.get("tools") or _calls(body) else None


def _no(body: Body, name: str) -> str | None:
    return f"Unrecognized request argument supplied: {name}" if name in body else None


def _max_completion_tokens(body: Body, _: str) -> str | None:
    unknown = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
    return unknown if "max_tokens" in body else None


def _plain_schemas(body: Body, _: str) -> str | None:
    told = json.dumps([tool["function"].get("parameters") for tool in body.get("tools") or ()])
    for word in ("$ref", "$defs", "additionalProperties"):
        if f'"{word}"' in told:
            return f"Invalid JSON payload received. Unknown name \"{word}\" at 'tools[0].function.parameters'"
    return None


def _back(body: Body, name: str) -> str | None:
    for one in _messages(body):
        if one.get("tool_calls") and name not in one and not any(name in call for call in one["tool_calls"]):
            return f"Missing `{name}` field in the assistant message with tool calls"
    return None


def _thoughts_everywhere(body: Body, _: str) -> str | None:
    for place, one in enumerate(_messages(body)):
        if one["role"] == "assistant" and "reasoning_content" not in one:
            return f"The `reasoning_content` of message {place} must be passed back in the thinking mode."
    return None


def _signed(body: Body, _: str) -> str | None:
    for one in _messages(body):
        if one.get("tool_calls") and not any("extra_content" in call for call in one["tool_calls"]):
            return "Function call is missing a thought_signature in functionCall parts."
    return None


def _no_back(body: Body, name: str) -> str | None:
    return f"property '{name}' is unsupported" if any(name in one for one in _messages(body)) else None


def _no_system(body: Body, _: str) -> str | None:
    return "System role not supported" if any(one["role"] == "system" for one in _messages(body)) else None


def _no_null(body: Body, _: str) -> str | None:
    empty = any(one.get("content") is None for one in _messages(body))
    return "messages.1.content: Input should be a valid string" if empty else None


def _no_stream(body: Body, _: str) -> str | None:
    return "Your organization must be verified to stream this model." if body.get("stream") else None


def _most_tools(body: Body, most: str) -> str | None:
    tools = len(body.get("tools") or ())
    return f"Invalid 'tools': array too long. Expected one with maximum length {most}." if tools > int(most) else None


def _filled(body: Body, _: str) -> str | None:
    empty = [one for one in _messages(body) if not one.get("content") and not one.get("tool_calls")]
    return "messages must have non-empty content" if empty else None


def _begins(body: Body, _: str) -> str | None:
    first = next((one["role"] for one in _messages(body) if one["role"] != "system"), "nobody")
    return None if first == "user" else f"the first message must be a user's, not one of {first}"


def _effort_with_tools(body: Body, _: str) -> str | None:
    if not body.get("tools") or body.get("reasoning_effort") == "none":
        return None
    return (
        f"Function tools with reasoning_effort are not supported for {body['model']} in /v1/chat/completions. "
        "To use function tools, use /v1/responses or set reasoning_effort to 'none'."
    )


def _efforts(body: Body, taken: str) -> str | None:
    asked = body.get("reasoning_effort")
    if asked is None or asked in taken.split(","):
        return None
    listed = ", ".join(f"'{one}'" for one in taken.split(","))
    told = f"Unsupported value: 'reasoning_effort' does not support '{asked}' with this model."
    return f"{told} Supported values are: {listed}."


def tokens_of(body: Body) -> int:
    """As this server counts them."""
    said = [str(one.get("content") or "") for one in _messages(body)]
    said += [call["function"]["name"] + call["function"]["arguments"] for call in _calls(body)]
    return sum(map(len, said)) // 4 + 5 * len(_messages(body)) + len(json.dumps(body.get("tools") or [])) // 4


def _window(body: Body, most: str) -> str | None:
    tokens = tokens_of(body)
    if tokens <= int(most):
        return None
    return (
        f"This model's maximum context length is {most} tokens. However, your messages resulted in {tokens} tokens. "
        "Please reduce the length of the messages."
    )


def _messages(body: Body) -> list[Body]:
    return list(body.get("messages") or ())


def _calls(body: Body) -> list[Body]:
    return [call for one in _messages(body) for call in one.get("tool_calls") or ()]


_RULES: dict[str, Callable[[Body, str], str | None]] = {
    "alternate": _alternate,
    "alternate_silent": _alternate_silent,
    "no_user_after_tool": _no_user_after_tool,
    "tools_with_calls": _tools_with_calls,
    "ids_nine": _ids(_NINE.match, "Tool call id was {} but must be a-z, A-Z, 0-9, with a length of 9."),
    "ids_forty": _ids(lambda told: len(told) <= 40, "Invalid 'tool_calls[0].id': {} is too long, at most 40."),
    "pairs": _pairs,
    "names": _names,
    "no_tools": _no_tools,
    "no": _no,
    "max_completion_tokens": _max_completion_tokens,
    "plain_schemas": _plain_schemas,
    "back": _back,
    "thoughts_everywhere": _thoughts_everywhere,
    "signed": _signed,
    "no_back": _no_back,
    "no_system": _no_system,
    "no_null": _no_null,
    "no_stream": _no_stream,
    "most_tools": _most_tools,
    "filled": _filled,
    "begins": _begins,
    "effort_with_tools": _effort_with_tools,
    "efforts": _efforts,
    "window": _window,
}
