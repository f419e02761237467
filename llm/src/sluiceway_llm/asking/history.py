"""One pass makes a conversation fit its server before it is sent. What is stored stays as it is.

Guarantees, of what comes out
- It is: at most one system message, a user message, and from there user and assistant take turns; results stand
  directly behind the calls that they answer. An assistant's messages that were neighbours are one; between two of a
  user, where a turn failed or was stopped, the assistant says that there was no answer; once, where several did: the
  last question stands alone, those before it are one message. No message is empty.
- Behind results a user may speak at once, as while a tool runs in the background: what the assistant is made to say
  there, small models say again. Where the server does not take that (`Wants.turns`), results are told with his words.
- Every call has exactly one result, and no result is without its call.
- Pictures are sent to models that take them; in place of others stands a sentence (pictures.py).
- Arguments of calls are one JSON object. Names are `[a-zA-Z0-9_-]{1,64}`. Ids are those that this server and model
  gave, where they are plain and short; else nine letters and digits. A call and its result have the same, and no two
  calls share one.
- Thoughts are not sent, neither as tags in a text nor as fields; except what the same server and model gave with
  calls (`Provided`), which goes back to it, unchanged.
Doing it twice changes nothing.
"""

import hashlib
import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from sluiceway_llm.asking.pictures import with_pictures
from sluiceway_llm.reading.think_tags import without_thoughts

Message = dict[str, Any]

PROVIDER = "provider"
"""The key of what is ours in a message, or in a call: it is never sent."""
NO_RESULT = "Error: This call was not run."
_EMPTY = "(empty)"
_BROKEN_OFF = "(The answer was not finished.)"
_NO_QUESTION = "(no text)"
_TOLD = "told"
"""Of a user's message: it is results, told as text."""
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]+")
_OWN_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,40}\Z")
_NINE = re.compile(r"[a-zA-Z0-9]{9}\Z")
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
# Gemini refuses calls that it did not sign, except with this in place of a signature.
_UNSIGNED = {"google": {"thought_signature": "skip_thought_signature_validator"}}


@dataclass(frozen=True, slots=True)
class Wants:
    """What a server wants. `by`: who it is; `returns`: the fields that it takes back, None: all; `nine_ids`: no other
    ids; `tools`: whether it knows calls at all; `system`: whether it knows the role; `null_content`: whether calls may
    have none; `all_reasoning`: thoughts have to be with every call, whoever made it; `reasoning_everywhere`: with all
    that the assistant said; `turns`: whether results are to be followed by the assistant; `signed`: calls of others are
    to be marked (Gemini); `pictures`: whether it takes any; `unfit`: those that it cannot read."""

    by: str = ""
    returns: Collection[str] | None = None
    refuses: Collection[str] = field(default_factory=frozenset)
    nine_ids: bool = False
    tools: bool = True
    system: bool = True
    null_content: bool = True
    all_reasoning: bool = False
    reasoning_everywhere: bool = False
    turns: bool = False
    signed: bool = False
    pictures: bool = True
    unfit: Collection[str] = field(default_factory=frozenset)

    def takes_back(self, name: str) -> bool:
        return name not in self.refuses and (self.returns is None or name in self.returns)


def fitted(messages: list[Message], wants: Wants) -> list[Message]:
    messages = with_pictures(messages, taken=wants.pictures, unfit=wants.unfit)
    system = "\n\n".join(text for one in messages if one.get("role") == "system" and (text := _text_of(one)))
    paired = _paired([one for one in messages if one.get("role") != "system"])
    if not wants.tools:
        paired = [told for one in paired for told in _as_text(one)]
    filled = [kept for one in paired if (kept := _filled(one)) is not None]
    if wants.turns:
        filled = [kept for one in _unanswered_as_text(filled) if (kept := _filled(one)) is not None]
    spoken = _taking_turns(_joined(filled))
    sent = _Sender(wants).sent(spoken)
    if not system:
        return sent
    if wants.system:
        return [{"role": "system", "content": system}, *sent]
    return [{**sent[0], "content": _both(system, sent[0]["content"])}, *sent[1:]]


def names_of_calls(messages: list[Message]) -> list[str]:
    """The names of the tools that were called, each once."""
    calls = [call for one in messages for call in one.get("tool_calls") or ()]
    return list(dict.fromkeys(call["function"]["name"] for call in calls))


def fitting_name(name: str) -> str:
    if _NAME.match(name):
        return name
    return _NOT_IN_NAMES.sub("_", name).strip("_")[:64] or "unnamed"


# Calls and results


def _paired(messages: list[Message]) -> list[Message]:
    """Assistant messages with their results in `results`, in the order of the calls; other results are left out."""
    paired: list[Message] = []
    for place, message in enumerate(messages):
        if message.get("role") == "tool":
            continue
        calls = message.get("tool_calls")
        if message.get("role") == "assistant" and calls:
            results = _results_behind(messages, place)
            told = [results.pop(call.get("id"), NO_RESULT) for call in calls]
            message = {**message, "results": told}
        paired.append(message)
    return paired


def _results_behind(messages: list[Message], place: int) -> dict[Any, str]:
    results: dict[Any, str] = {}
    for message in messages[place + 1 :]:
        if message.get("role") != "tool":
            break
        results.setdefault(message.get("tool_call_id"), _text_of(message) or _EMPTY)
    return results


def _as_text(message: Message) -> list[Message]:
    """Calls and results as a conversation, for a model that knows no tools."""
    if "results" not in message:
        return [message]
    names = [call["function"]["name"] for call in message["tool_calls"]]
    told = "\n\n".join(
        f"[Result of the tool {name}: {result}]" for name, result in zip(names, message["results"], strict=True)
    )
    return [{"role": "assistant", "content": message.get("content")}, {"role": "user", "content": told, _TOLD: True}]


def _unanswered_as_text(messages: list[Message]) -> list[Message]:
    """Calls as a conversation where a user's message follows their results."""
    told: list[Message] = []
    for message in reversed(messages):
        followed = bool(told) and told[0]["role"] == "user"
        told[:0] = _as_text(message) if followed else [message]
    return told


# Turns


def _filled(message: Message) -> Message | None:
    """Without thoughts; None where it says nothing and calls nothing."""
    content = message.get("content")
    if message.get("role") == "assistant" and isinstance(content, str):
        content = without_thoughts(content)
    empty = not content or (isinstance(content, str) and not content.strip())
    if empty and "results" not in message:
        return None
    return {**message, "content": None if empty else content}


def _joined(messages: list[Message]) -> list[Message]:
    """What an assistant said without a word of the user in between is one message; behind results, one of its own. So
    is what a user said with results that are told as text."""
    joined: list[Message] = []
    for message in messages:
        last = joined[-1] if joined else None
        if last is not None and last["role"] == message["role"] and "results" not in last and _belong(last, message):
            joined[-1] = {**last, **message, "content": _both(last.get("content"), message.get("content"))}
        else:
            joined.append(message)
    return joined


def _belong(last: Message, message: Message) -> bool:
    return message["role"] != "user" or _TOLD in last or _TOLD in message


def _taking_turns(messages: list[Message]) -> list[Message]:
    """Beginning with a question; and where a question follows others, with a word in between. It is said once, however
    many these are: what the assistant says each time a model takes for what it is to say now."""
    first = next((place for place, one in enumerate(messages) if one["role"] == "user"), None)
    if first is None:
        return [{"role": "user", "content": _NO_QUESTION}, *messages]
    turns: list[Message] = []
    broken_off = {"role": "assistant", "content": _BROKEN_OFF}
    for message in messages[first:]:
        if turns and message["role"] == turns[-1]["role"] == "user":
            if len(turns) > 2 and turns[-2] is broken_off:
                before, _, last = turns[-3:]
                turns[-3:] = [{**before, "content": _both(before["content"], last["content"])}]
            turns.append(broken_off)
        turns.append({name: value for name, value in message.items() if name != _TOLD})
    return turns


def _both(first: Any, second: Any) -> Any:
    """Two contents as one. Content that is a list of parts stays one."""
    if not first or not second:
        return first or second
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    return [*_parts(first), *_parts(second)]


def _parts(content: Any) -> list[Any]:
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def _text_of(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content.strip() and content
    parts = content if isinstance(content, list) else []
    return "".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))


# What is sent


class _Sender:
    """Ids, names and what the server gave, for one request."""

    def __init__(self, wants: Wants) -> None:
        self._wants = wants
        self._used: set[str] = set()

    def sent(self, messages: list[Message]) -> list[Message]:
        return [one for message in messages for one in self._sent(message)]

    def _sent(self, message: Message) -> list[Message]:
        plain = {name: value for name, value in message.items() if name not in (PROVIDER, "results", "tool_calls")}
        if "results" not in message:
            if self._wants.reasoning_everywhere and message["role"] == "assistant":
                plain.setdefault("reasoning_content", " ")
            return [plain]
        if not self._wants.null_content and plain.get("content") is None:
            plain["content"] = ""
        provider = message.get(PROVIDER)
        given = provider if isinstance(provider, dict) and provider.get("by") == self._wants.by else None
        calls = [self._call(call, provider is None) for call in message["tool_calls"]]
        if self._wants.signed and not any("extra_content" in call for call in calls):
            calls[0]["extra_content"] = _UNSIGNED
        results = [
            {"role": "tool", "tool_call_id": call["id"], "content": result}
            for call, result in zip(calls, message["results"], strict=True)
        ]
        return [{**plain, **self._returned(given, provider), "tool_calls": calls}, *results]

    def _returned(self, given: Message | None, provider: Any) -> Message:
        """The fields of the message that go back."""
        returned: Message = {}
        if given is not None:
            returned = {name: value for name, value in given.get("fields", {}).items() if self._wants.takes_back(name)}
            name = given.get("reasoning_field")
            if name and self._wants.takes_back(name) and "reasoning_details" not in returned:
                returned[name] = given.get("reasoning", "")
        if self._wants.all_reasoning and "reasoning_content" not in returned:
            thoughts = provider.get("reasoning") if isinstance(provider, dict) else None
            returned["reasoning_content"] = thoughts or " "
        return returned

    def _call(self, call: Message, unknown: bool) -> Message:
        """`unknown`: nothing says who made it, so its id is taken for this server's."""
        provider = call.get(PROVIDER)
        own = provider if isinstance(provider, dict) and provider.get("by") == self._wants.by else None
        given = dict(own.get("fields", {})) if own is not None else {}
        told_id = given.pop("id", call["id"]) if own is not None else call["id"]
        in_function = given.pop("function", None)
        function = {
            **call["function"],
            "name": fitting_name(call["function"]["name"]),
            "arguments": _an_object(call["function"].get("arguments")),
        }
        if isinstance(in_function, dict):
            function = {**in_function, **function}
        extras = {name: value for name, value in given.items() if self._wants.takes_back(name)}
        sent_id = self._id(told_id, trusted=own is not None or (unknown and provider is None))
        return {**extras, "id": sent_id, "type": "function", "function": function}

    def _id(self, told: str, *, trusted: bool) -> str:
        fits = _NINE if self._wants.nine_ids or not trusted else _OWN_ID
        chosen, tries = told, 0
        while chosen in self._used or not fits.match(chosen):
            chosen, fits, tries = _nine_of(f"{told} {tries}"), _NINE, tries + 1
        self._used.add(chosen)
        return chosen


def _an_object(arguments: Any) -> str:
    """Servers that read them take nothing else."""
    try:
        value = json.loads(arguments)
    except (ValueError, TypeError, RecursionError):
        value = arguments
    if isinstance(value, dict) and isinstance(arguments, str):
        return arguments
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return json.dumps({"arguments": value}, ensure_ascii=False) if value else "{}"


def _nine_of(text: str) -> str:
    number = int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8], "big")
    digits = []
    for _ in range(9):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)
