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
    <|tool_call_start|>[note(text="one")]<|tool_call_end|>                             LFM2
    <|python_start|>[note(text="one")]<|python_end|>                                   Llama 4
    <function_calls>note(text="one")</function_calls>                                  OLMo
    tool_sep, <steptml:invoke name="note"><steptml:parameter name="text">one</…        Step-3
    <|tools_prefix|>[{"note": {"text": "one"}}]<|tools_suffix|>                        Apertus
    <start_function_call>call:note{text:<escape>one<escape>}<end_function_call>        Gemma
    <longcat_tool_call>…, <function_call>…, as Hermes has it                           LongCat, Granite

What is read here is whole, and begins with a call; who finds where that is are written_calls.py and bare_calls.py.
"""

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Self

from sluiceway_llm.reading.literals import NamedCall, gemmas_call_at, object_at, python_call_at
from sluiceway_llm.reading.offered_names import offered_name

OPENINGS = (
    "<tool_call>",
    "<tool_calls>",
    "<function=",
    "<function_calls>",
    "<function_call>",
    "<invoke name=",
    "<minimax:tool_call>",
    "<longcat_tool_call>",
    "<start_function_call>",
    "<|tool_call|>",
    "<|tool_call>",
    "<|tool_call_start|>",
    "<|tool_calls_section_begin|>",
    "<|tool_call_begin|>",
    "<|tools_prefix|>",
    "<|python_tag|>",
    "<|python_start|>",
    "<|tool_calls|>",
    "<|action_start|>",
    "<|START_ACTION|>",
    "<TOOLCALL>",
    "<seed:tool_call>",
    "<steptml:invoke name=",
    "<\uff5ctool\u2581calls\u2581begin\uff5c>",
    "<\uff5ctool\u2581call\u2581begin\uff5c>",
    "<\uff5ctool_calls_begin\uff5c>",
    "<\uff5ctool_call_begin\uff5c>",
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
    "<\uff5ctool_call_end\uff5c>",
    "<\uff5ctool_calls_end\uff5c>",
)
"""The marks behind which calls stand."""
OPENING = re.compile("|".join(map(re.escape, OPENINGS)))
BETWEEN = re.compile(
    r"(?:\[TOOL_CALLS\]|\s|[\[,;\]}]|</?(?:minimax:|seed:|longcat_)?tool_calls?>|</?TOOLCALL>"
    r"|</?(?:\uff5cDSML\uff5c)?function_calls?>|</function>|<(?:start|end)_function_call>"
    r"|<\|action_(?:start|end)\|>|<\|plugin\|>|<\|(?:START|END)_ACTION\|>|<\|/?tool_calls?\|>|<\|tool_call>|<tool_call\|>"
    r"|<\|(?:tool_calls?(?:_section)?_(?:begin|start|end)|tools_(?:prefix|suffix)|python_(?:tag|start|end))\|>"
    r"|<\|(?:eom_id|eot_id|im_end)\|>"
    r"|<\uff5ctool[\u2581_]calls?[\u2581_](?:begin|end)\uff5c>|(?:function)?<\uff5ctool_sep\uff5c>)++"
)
"""Words between calls that say nothing."""
_QUOTES = ("`", '"', "'")
# In front of the names of tags.
_SPACE = r"(?P<space>\uff5cDSML\uff5c|steptml:)?"
_NAME = r"(?:functions?[.:])?([\w.-]{1,64})"
_TAGGED = re.compile(rf"<function={_NAME}(?:>|(?=\{{))")
_PARAMETER = re.compile(r"<parameter=([^>\s]{1,256})>")
_INVOKED = re.compile(rf'<{_SPACE}invoke name="{_NAME}">')
_NAMED = re.compile(rf'<{_SPACE}parameter name="([^"]{{1,256}})"(?: string="(true|false)")?>')
_KEYED = re.compile(rf"{_NAME}\s*+(?=<arg_key>|</tool_call>|\Z)")
_KEY, _ARG = re.compile(r"\s*+<arg_key>"), re.compile(r"\s*+<arg_value>")
# A name, and JSON behind it.
_BEFORE_JSON = re.compile(
    rf"(?:function<\uff5ctool\u2581sep\uff5c>)?{_NAME}(?::\d+)?\s*+(?:\[CALL_ID\]\w++)?"
    r"(?:\[ARGS\]|<\|tool_call_argument_begin\|>|<\uff5ctool\u2581sep\uff5c>|```json|\s)*+(?=\{)"
)
_FENCE = re.compile(r"\s*```")
_DECODER = json.JSONDecoder(strict=False)


@dataclass(frozen=True, slots=True)
class WrittenCall:
    """`arguments`: JSON."""

    name: str
    arguments: str

    @classmethod
    def of(cls, name: str, arguments: dict[str, Any]) -> Self:
        return cls(name, json.dumps(arguments, ensure_ascii=False))


def calls_in(text: str, names: Collection[str]) -> tuple[list[WrittenCall], int]:
    """The calls that it begins with, and where they end. None, where something before that is none."""
    calls: list[WrittenCall] = []
    place = 0
    while True:
        between = BETWEEN.match(text, place)
        begin = between.end() if between is not None else place
        found = _one_at(text, begin, names)
        if found is None:
            # Behind its calls a model may still say something; but not in the middle of one, and not in quotes.
            meant = calls and not OPENING.match(text, begin) and not text.startswith(_QUOTES, begin)
            return (calls, begin) if meant else ([], 0)
        made, place = found
        calls += made


def _one_at(text: str, place: int, names: Collection[str]) -> tuple[list[WrittenCall], int] | None:
    """The calls that stand there, and where they end."""
    if text[place : place + 1] in ("{", "["):
        value, end = json_at(text, place)
        if value is None and (printed := object_at(text, place)) is not None:
            value, end = printed
        made = [call_of(one, names) for one in (value if isinstance(value, list) else [value])]
        if made and all(one is not None and one.name in names for one in made):
            return [one for one in made if one is not None], end
        return None
    for read in _NOTATIONS:
        if (named := read(text, place)) is not None and (name := offered_name(named[0], names)) in names:
            return [WrittenCall.of(name, named[1])], named[2]
    if (found := _BEFORE_JSON.match(text, place)) is not None and found[1] in names:
        value, end = json_at(text, found.end())
        if isinstance(value, dict):
            closed = _FENCE.match(text, end) if "```" in found[0] else None
            return [WrittenCall(found[1], text[found.end() : end])], closed.end() if closed else end
    return None


def json_at(text: str, place: int) -> tuple[Any, int]:
    try:
        value, end = _DECODER.raw_decode(text, place)
    except (ValueError, RecursionError):
        return None, place
    return value, end


def call_of(value: Any, names: Collection[str] = ()) -> WrittenCall | None:
    """`{"name": …, "arguments": {…}}`, perhaps under `function`; or `{"note": {…}}`, where that is one of `names`."""
    if not isinstance(value, dict):
        return None
    if len(value) == 1 and (alone := next(iter(value))) in names and isinstance(value[alone], dict):
        return WrittenCall.of(alone, value[alone])
    inner = value.get("function")
    call = inner if isinstance(inner, dict) else value
    name = call.get("name", inner if isinstance(inner, str) else call.get("tool_name"))
    given = call.get("arguments", call.get("parameters", {}))
    if isinstance(given, str):
        given, _ = json_at(given, 0)
    if not isinstance(name, str) or not isinstance(given, dict):
        return None
    return WrittenCall.of(name.removeprefix("functions."), given)


def _value(text: str) -> Any:
    """Texts are written as they are, anything else as JSON."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(value, str) else value


def _tagged_at(text: str, place: int) -> NamedCall | None:
    """Parameters in tags; or one object, which has to be whole."""
    if (found := _TAGGED.match(text, place)) is None:
        return None
    inside, end = _up_to("</function>", text, found.end(), or_end=True)
    if not inside.lstrip().startswith("{"):
        return found[1], {tag[1]: _value(_a_line_less(value)) for tag, value in _parameters(_PARAMETER, inside)}, end
    given = _value(inside)
    return (found[1], given, end) if isinstance(given, dict) else None


def _invoked_at(text: str, place: int) -> NamedCall | None:
    if (found := _INVOKED.match(text, place)) is None:
        return None
    inside, end = _up_to(f"</{found['space'] or ''}invoke>", text, found.end())
    given = {tag[2]: value if tag[3] == "true" else _value(value) for tag, value in _parameters(_NAMED, inside)}
    return (found[2], given, end) if end else None


def _keyed_at(text: str, place: int) -> NamedCall | None:
    if (called := _KEYED.match(text, place)) is None:
        return None
    given: dict[str, Any] = {}
    place = called.end()
    while (found := _KEY.match(text, place)) is not None:
        key, place = _up_to("</arg_key>", text, found.end())
        if not place or (found := _ARG.match(text, place)) is None:
            return None
        value, place = _up_to("</arg_value>", text, found.end())
        if not place:
            return None
        given[key.strip()] = _value(value)
    return called[1], given, place


def _parameters(opening: re.Pattern[str], text: str) -> Iterator[tuple[re.Match[str], str]]:
    """Those that have no end go to the next one's beginning."""
    found, closed = opening.search(text), True
    while found is not None:
        closing = f"</{found.groupdict().get('space') or ''}parameter>"
        value, end = _up_to(closing, text, found.end()) if closed else ("", 0)
        closed = closed and end > 0
        following = opening.search(text, end or found.end())
        if not end:
            value = text[found.end() : following.start() if following is not None else len(text)]
        yield found, value
        found = following


def _up_to(closing: str, text: str, place: int, *, or_end: bool = False) -> tuple[str, int]:
    """What stands before the closing tag, and where that ends: 0, where there is none."""
    at = text.find(closing, place)
    if at < 0:
        return text[place:], len(text) if or_end else 0
    return text[place:at], at + len(closing)


def _a_line_less(value: str) -> str:
    return value.removeprefix("\n").removesuffix("\n")


_NOTATIONS = (_tagged_at, _invoked_at, _keyed_at, python_call_at, gemmas_call_at)
