"""Calls that a model wrote in its own notation, and that its server left in the text: most often it runs without the
parser that the model needs.

    <tool_call>{"name": "note", "arguments": {"text": "one"}}</tool_call>              Hermes, Qwen
    <tool_call><function=note><parameter=text>one</parameter></function></tool_call>   Qwen Coder
    <tool_call>note<arg_key>text</arg_key><arg_value>one</arg_value></tool_call>       GLM
    [TOOL_CALLS]note[ARGS]{"text": "one"}                                              Mistral
    <|tool_call_begin|>functions.note:0<|tool_call_argument_begin|>{…}                 Kimi
    function, its separator, note, {…}, between marks of calls                         DeepSeek
    <function_calls><invoke name="note"><parameter name="text">one</parameter>…        Claude, MiniMax, DeepSeek
    <|python_tag|>{"name": "note", "parameters": {…}}                                  Llama
    <function=note>{"text": "one"}</function>                                          Llama
    <|action_start|><|plugin|>{"name": "note", "parameters": {…}}<|action_end|>        InternLM
    <|START_ACTION|>[{"tool_name": "note", "parameters": {…}}]<|END_ACTION|>           Cohere
    <TOOLCALL>[{"name": "note", "arguments": {…}}]</TOOLCALL>                          Nemotron

Guarantees: only calls of tools that were offered are taken for calls, and only where the whole rest of the text is such
calls, and words behind them; anything else stays text, and so does what stands in quotes. Any split of the text gives
the same. A text without such a mark is not held back.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

_OPENINGS = (
    "<tool_call>",
    "<tool_calls>",
    "<function=",
    "<function_calls>",
    "<invoke name=",
    "<minimax:tool_call>",
    "<|tool_call|>",
    "<|tool_calls_section_begin|>",
    "<|tool_call_begin|>",
    "<|python_tag|>",
    "<|tool_calls|>",
    "<|action_start|>",
    "<|START_ACTION|>",
    "<TOOLCALL>",
    "<seed:tool_call>",
    "<\uff5ctool\u2581calls\u2581begin\uff5c>",
    "<\uff5ctool\u2581call\u2581begin\uff5c>",
    "<\uff5cDSML\uff5cfunction_calls>",
    "<\uff5cDSML\uff5cinvoke name=",
    "[TOOL_CALLS]",
    # What a server that has made a call may leave behind it.
    "</tool_call>",
    "</tool_calls>",
    "<|tool_call_end|>",
    "<|tool_calls_section_end|>",
    "<\uff5ctool\u2581call\u2581end\uff5c>",
    "<\uff5ctool\u2581calls\u2581end\uff5c>",
)
_OPENING = re.compile("|".join(map(re.escape, _OPENINGS)))
# Words between calls that say nothing.
_BETWEEN = re.compile(
    r"(?:\[TOOL_CALLS\]|\s|[\[,;\]]|</?(?:minimax:|seed:)?tool_calls?>|</?TOOLCALL>"
    r"|</?(?:\uff5cDSML\uff5c)?function_calls>|</function>"
    r"|<\|action_(?:start|end)\|>|<\|plugin\|>|<\|(?:START|END)_ACTION\|>|<\|/?tool_calls?\|>"
    r"|<\|(?:tool_calls?(?:_section)?_(?:begin|end)|python_tag|eom_id|eot_id|im_end)\|>"
    r"|<\uff5ctool\u2581calls?\u2581(?:begin|end)\uff5c>)+"
)
# Behind which a mark is one that is shown, and not one that is meant; and before which.
_QUOTED = re.compile(r"(?:`|\"|'|```\w{0,20}\s*)\Z")
_QUOTES = ("`", '"', "'")
_QUOTED_CHARS = 30
_NAME = r"(?:functions?[.:])?([\w.-]{1,64})"
_TAGGED = re.compile(rf"<function={_NAME}(?:>|(?=\{{))(.*?)(?:</function>|\Z)", re.S)
_PARAMETER = re.compile(r"<parameter=([^>\s]+)>\n?(.*?)\n?</parameter>", re.S)
_INVOKED = re.compile(rf'<(?:\uff5cDSML\uff5c)?invoke name="{_NAME}">(.*?)</(?:\uff5cDSML\uff5c)?invoke>', re.S)
_NAMED = re.compile(
    r'<(?:\uff5cDSML\uff5c)?parameter name="([^"]+)"(?: string="(true|false)")?>(.*?)</(?:\uff5cDSML\uff5c)?parameter>',
    re.S,
)
_KEYED = re.compile(
    rf"{_NAME}\s*((?:<arg_key>.*?</arg_key>\s*<arg_value>.*?</arg_value>\s*)*)(?=</tool_call>|\Z)", re.S
)
_KEY = re.compile(r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.S)
# A name, and JSON behind it.
_BEFORE_JSON = re.compile(
    rf"(?:function<\uff5ctool\u2581sep\uff5c>)?{_NAME}(?::\d+)?\s*(?:\[CALL_ID\]\w+)?"
    r"(?:\[ARGS\]|<\|tool_call_argument_begin\|>|<\uff5ctool\u2581sep\uff5c>|```json|\s)*(?=\{)"
)
_MOST_HELD_CHARS = 200_000
_FENCE = re.compile(r"\s*```")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class WrittenCall:
    """`arguments`: JSON."""

    name: str
    arguments: str


class WrittenCalls:
    """A text is told as it comes, up to where calls may begin. `names`: of the tools that were offered."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._held = ""
        self._begun = False

    @property
    def holds(self) -> bool:
        return bool(self._held)

    def feed(self, piece: str, before: str = "") -> str:
        """What of it is text for sure. `before`: what was told last; a mark is not one where that ends with a quote."""
        if not (self._held or "<" in piece or "[" in piece) or not self._names:
            return piece
        text, self._held = self._held + piece, ""
        begins = 0 if self._begun else _opening_in(text, before[-_QUOTED_CHARS:])
        if begins is None:
            kept = _may_be_begun(text)
            self._held = text[len(text) - kept :]
            return text[: len(text) - kept]
        self._begun, self._held = True, text[begins:]
        told = text[:begins]
        return told + self._give_up() if len(self._held) > _MOST_HELD_CHARS else told

    def flush(self) -> str:
        """What is held, as text: something else follows."""
        held, self._held, self._begun = self._held, "", False
        return held

    def rest(self, *, made: bool = False) -> tuple[str, list[WrittenCall]]:
        """What is left when the text has ended: text, and the calls before it. `made`: the server has made calls, too;
        marks alone are then what it left of these."""
        held, self._held = self._held, ""
        if made and self._begun and _BETWEEN.fullmatch(held):
            return "", []
        calls, end = _calls_in(held, self._names) if self._begun else ([], 0)
        self._names, self._begun = (), False
        return (held[end:], calls) if calls else (held, [])

    def _give_up(self) -> str:
        held, self._held, self._begun, self._names = self._held, "", False, ()
        return held


def _may_be_begun(text: str) -> int:
    """How many characters at its end may be the beginning of a mark."""
    place = max(text.rfind("<"), text.rfind("["))
    begun = text[place:]
    return len(begun) if place >= 0 and any(opening.startswith(begun) for opening in _OPENINGS) else 0


def _opening_in(text: str, before: str) -> int | None:
    whole = before + text
    for found in _OPENING.finditer(whole, len(before)):
        if not _QUOTED.search(whole, 0, found.start()):
            return found.start() - len(before)
    return None


def _calls_in(text: str, names: Collection[str]) -> tuple[list[WrittenCall], int]:
    """The calls that it begins with, and where they end. None, where something before that is none."""
    calls: list[WrittenCall] = []
    place = 0
    while True:
        between = _BETWEEN.match(text, place)
        begin = between.end() if between is not None else place
        found = next(_one_at(text, begin, names), None)
        if found is None:
            # Behind its calls a model may still say something; but not in the middle of one, and not in quotes.
            meant = calls and not _OPENING.match(text, begin) and not text.startswith(_QUOTES, begin)
            return (calls, begin) if meant else ([], 0)
        made, place = found
        calls += made


def _one_at(text: str, place: int, names: Collection[str]) -> Iterator[tuple[list[WrittenCall], int]]:
    if text[place : place + 1] in ("{", "["):
        value, end = _json_at(text, place)
        made = [_of_object(one) for one in (value if isinstance(value, list) else [value])]
        if made and all(one is not None and one.name in names for one in made):
            yield [one for one in made if one is not None], end
        return
    for form, arguments in _FORMS:
        if (found := form.match(text, place)) is None or found[1] not in names:
            continue
        if (given := arguments(found[2])) is not None:
            yield [WrittenCall(found[1], json.dumps(given, ensure_ascii=False))], found.end()
    if (found := _BEFORE_JSON.match(text, place)) is not None and found[1] in names:
        value, end = _json_at(text, found.end())
        if isinstance(value, dict):
            closed = _FENCE.match(text, end) if "```" in found[0] else None
            yield [WrittenCall(found[1], text[found.end() : end])], closed.end() if closed else end


def _json_at(text: str, place: int) -> tuple[Any, int]:
    try:
        value, end = _DECODER.raw_decode(text, place)
    except (ValueError, RecursionError):
        return None, place
    return value, end


def _of_object(value: Any) -> WrittenCall | None:
    """`{"name": …, "arguments": {…}}`, perhaps under `function`."""
    if not isinstance(value, dict):
        return None
    inner = value.get("function")
    call = inner if isinstance(inner, dict) else value
    name = call.get("name", inner if isinstance(inner, str) else call.get("tool_name"))
    given = call.get("arguments", call.get("parameters", {}))
    if isinstance(given, str):
        given, _ = _json_at(given, 0)
    if not isinstance(name, str) or not isinstance(given, dict):
        return None
    return WrittenCall(name.removeprefix("functions."), json.dumps(given, ensure_ascii=False))


def _value(text: str) -> Any:
    """Texts are written as they are, anything else as JSON."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(value, str) else value


def _parameters(text: str) -> dict[str, Any] | None:
    """In tags; or one object: None where that is not whole."""
    if text.lstrip().startswith("{"):
        given = _value(text)
        return given if isinstance(given, dict) else None
    return {name: _value(value) for name, value in _PARAMETER.findall(text)}


def _named(text: str) -> dict[str, Any]:
    return {name: value if is_text == "true" else _value(value) for name, is_text, value in _NAMED.findall(text)}


def _keyed(text: str) -> dict[str, Any]:
    return {name.strip(): _value(value) for name, value in _KEY.findall(text)}


_FORMS: tuple[tuple[re.Pattern[str], Callable[[str], dict[str, Any] | None]], ...] = (
    (_TAGGED, _parameters),
    (_INVOKED, _named),
    (_KEYED, _keyed),
)
