"""What a server has refused, and what is left out or written otherwise from then on, until the process ends.

A refusal costs nothing at a server, so the same request is sent once more for each thing that is learned. Each lesson
is learned once: a request is refused only as often as there is something left to learn.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from sluiceway_llm.asking.answer_format import RESPONSE_FORMAT
from sluiceway_llm.asking.dialects import Dialect, Schemas
from sluiceway_llm.asking.pictures import finds_unfit, pictures_in, refuses_pictures
from sluiceway_llm.error_words import Told

# Where a refusal may be for something that can be left out: not for the key, money, or too many requests.
TEACHING = frozenset({400, 404, 405, 415, 422, 500, 501})
_BEYOND_DOUBT = frozenset({"model", "messages", "input", "stream"})
_NO_TOOLS = re.compile(
    r"(not|n't) (currently )?(support|allow|accept|permit)\w{0,9}.{0,30}(tool|function)"
    r"|(tool|function).?(s|use|call|calls|calling|choice)?\b.{0,30}(not|n't|un)\s?(be )?"
    r"(support|allow|available|implement|enabled)"
    r"|endpoints? found that support tool|tools? param requires|requires --enable-auto-tool-choice"
    r"|no (tool|function).?(use|call)",
    re.I | re.S,
)
_SCHEMA = re.compile(
    r"\$ref|\$defs|additionalProperties|json.?schema|invalid.{0,10}schema|anyOf|oneOf|tools.{0,30}parameters"
    r"|function.?declaration|grammar|unimplemented keys",
    re.I,
)
_CALL_ID = re.compile(
    r"(tool.?call.?|call_)ids?\b|tool_(calls?|use)\S{0,20}\.id|a-z, A-Z, 0-9"
    r"|\bid\b.{0,60}(length|characters|chars|too long)",
    re.I,
)
_NO_SYSTEM = re.compile(
    r"(system|developer).{0,20}(role|message|instruction).{0,40}(not|n't|un)\s?(support|allow|enabled|permit)"
    r"|role.{0,30}(not|n't) support\W{0,3}(system|developer)|unexpected role\W{0,3}(system|developer)"
    r"|only user[^.]{0,30}\broles",
    re.I,
)
_TURNS = re.compile(
    r"roles?\b.{0,60}alternat|alternat.{0,50}\broles?|role\W{0,3}user\W{0,3} after role\W{0,3}tool"
    r"|expected last role|unexpected role\W{0,3}user",
    re.I | re.S,
)
_NO_STREAM = re.compile(
    r"(stream\w{0,9}|'stream') (is |are )?not (supported|allowed|available)"
    r"|(not|n't) support stream(ing|ed)?\b(?!.?options)|verified to stream|'stream' does not support true",
    re.I,
)
_OF_A_CHOICE = re.compile(r"\btool_?choice\b|\bparallel_tool_calls\b", re.I)
_NO_STREAMED_TOOLS = re.compile(
    r"(not|n't) support\w{0,9} (tool|function).{0,30}\bstream"
    r"|(tool|function).{0,20}(with|when|while|in) stream\w{0,9}.{0,20}\bnot\b",
    re.I,
)
_NULL_CONTENT = re.compile(
    r"content.{0,60}\b(null|none|nonetype|nil)\b|\b(null|none|nil)\b.{0,40}\bcontent\b"
    r"|content.{0,40}(valid string|must be a string|is required|field required)",
    re.I | re.S,
)
# What templates of models complain of, which servers tell as faults of their own.
_TEMPLATE = re.compile(r"\bat row \d+, column \d+|\bjinja|chat.?template|unexpected keyword argument", re.I)
_NULL = re.compile(r"\b(null|none|nonetype)\b", re.I)
_BOTH = re.compile(r"\bboth (the )?content and (thinking|reasoning)", re.I)
_MOST_TOOLS = re.compile(r"tools.{0,80}?(?:max|at most|exceed|limit|up to)\D{0,50}+(\d{1,4})\b", re.I | re.S)
_SIGNATURE = re.compile(r"thought.?signature", re.I)
_MISSING = re.compile(r"missing|must (be|include|contain|have)|required|need", re.I)
_THOUGHTS_REFUSED = re.compile(r"reasoning_content\W{0,4}(is |are )?(un|not\b|extra)", re.I)
_REFUSED = re.compile(
    r"unsupported|not (supported|permitted|allowed|expected)|unknown|unexpected|unrecogni|extra|invalid|remove", re.I
)
_WORDS = frozenset({"user"})
_EFFORT = "reasoning_effort"
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Least first. Which of them a model takes, it says when it is asked with another one."""
_LISTED = re.compile(r"\b(supported|valid|allowed|possible|expected)\b.{0,30}(values?|one of|are)\b(.*)", re.I | re.S)
_GIVEN_BACK = ("reasoning_content", "reasoning_details", "reasoning", "extra_content", "thinking_blocks")
_SIMPLER: dict[Schemas, Schemas] = {"whole": "inlined", "inlined": "bare"}
_FORMAT = re.compile(r"response.?format|json.?schema|structured.?output|guided|grammar|strict.{0,20}schema", re.I)
_MOST_UNFIT = 1000
_RENAMED = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}


@dataclass(slots=True)
class Lessons:
    """Of one server and one model."""

    dropped: set[str] = field(default_factory=set)
    renamed: dict[str, str] = field(default_factory=dict)
    refused_fields: set[str] = field(default_factory=set)
    schemas: Schemas | None = None
    no_tools: bool = False
    nine_ids: bool = False
    most_tools: int | None = None
    no_stream: bool = False
    no_null_content: bool = False
    no_system: bool = False
    turns: bool = False
    signed: bool = False
    all_reasoning: bool = False
    reasoning_everywhere: bool = False
    no_pictures: bool = False
    unfit_pictures: set[str] = field(default_factory=set)
    efforts: dict[str, str] = field(default_factory=dict)
    """Of reasoning: what is asked for instead."""
    effort_with_tools: str | None = None
    """OpenAI's newer models take tools in chat requests only with this one."""

    def learn(self, told: Told, status: int, sent: Mapping[str, Any], dialect: Dialect) -> str | None:
        """The name of what is new, for a log; None where the refusal says nothing that helps."""
        if status not in TEACHING:
            return None
        words = f"{told.parameter} {told.words}"
        lesson = self._about_effort(words, sent) or self._about_tools(words, sent, dialect)
        if lesson is not None:
            return lesson
        # Templates of models raise their complaints, which some servers tell as faults.
        lesson = self._about_pictures(words, sent) or self._about_system(words) or self._about_turns(words, sent)
        if lesson is not None:
            return lesson
        if (lesson := self._about_template(words, sent)) is not None:
            return lesson
        of_template = _TEMPLATE.search(words) is not None
        if (status >= 500 and not of_template) or (status == 404 and not _REFUSED.search(words)):
            return None
        return self._about_messages(words, sent) or self._about_parameters(told, sent)

    def told(self) -> list[str]:
        """What is left out or written otherwise, under the names that `learn` gave."""
        flags = {
            "tools": self.no_tools,
            "ids": self.nine_ids,
            "system": self.no_system,
            "stream": self.no_stream,
            "content": self.no_null_content,
            "turns": self.turns,
            "signed": self.signed,
            "reasoning": self.all_reasoning,
            "reasoning:everywhere": self.reasoning_everywhere,
            "pictures": self.no_pictures,
        }
        found = {name for name, learned in flags.items() if learned} | self.dropped
        found |= {f"{name}:{other}" for name, other in self.renamed.items()}
        found |= {f"{_EFFORT}:{effort}" for effort in (*self.efforts.values(), self.effort_with_tools) if effort}
        found |= {f"messages:{name}" for name in self.refused_fields}
        found |= {f"tools:{self.most_tools}"} if self.most_tools is not None else set()
        return sorted(found | ({f"schemas:{self.schemas}"} if self.schemas is not None else set()))

    def effort(self, wanted: str | None, with_tools: bool) -> str | None:
        """Of reasoning, as this model takes it; None: it is not told."""
        asked = self.effort_with_tools if with_tools and self.effort_with_tools is not None else wanted
        return asked if asked is None else self.efforts.get(asked, asked)

    def _about_effort(self, words: str, sent: Mapping[str, Any]) -> str | None:
        if _EFFORT not in words:
            return None
        asked = sent.get(_EFFORT)
        listed = _LISTED.search(words.lower())
        taken = [effort for effort in EFFORTS if listed and re.search(rf"\b{effort}\b", listed[3])]
        if asked in EFFORTS and taken and asked not in taken:
            wanted = EFFORTS.index(asked)
            self.efforts[asked] = min(taken, key=lambda effort: abs(EFFORTS.index(effort) - wanted))
            return f"{_EFFORT}:{self.efforts[asked]}"
        if sent.get("tools") and "tool" in words.lower() and self.effort_with_tools is None and asked != "none":
            self.effort_with_tools = "none"
            return f"{_EFFORT}:none"
        return None

    def _about_tools(self, words: str, sent: Mapping[str, Any], dialect: Dialect) -> str | None:
        if not sent.get("tools") or _EFFORT in words:
            return None
        # What is said of the choice says nothing of the tools.
        words = _OF_A_CHOICE.sub("choice", words)
        if not self.no_stream and sent.get("stream") and _NO_STREAMED_TOOLS.search(words):
            self.no_stream = True
            return "stream"
        if (most := _MOST_TOOLS.search(words)) is not None and 0 < int(most[1]) < len(sent["tools"]):
            self.most_tools = int(most[1])
            return f"tools:{self.most_tools}"
        unknown = _REFUSED.search(words) and re.search(r"""(^|['"`\s.])tools(['"`\s]|$)""", words)
        in_schema = _SCHEMA.search(words)
        if not self.no_tools and not in_schema and (_NO_TOOLS.search(words) or unknown):
            self.no_tools = True
            return "tools"
        level = self.schemas or dialect.schemas
        if in_schema and level in _SIMPLER:
            self.schemas = _SIMPLER[level]
            return f"schemas:{self.schemas}"
        return None

    def _about_pictures(self, words: str, sent: Mapping[str, Any]) -> str | None:
        """That it takes none; or that it cannot read one of these: which, it seldom says."""
        found = set(pictures_in(_messages(sent)))
        if not found:
            return None
        if finds_unfit(words):
            self.unfit_pictures = found | (self.unfit_pictures if len(self.unfit_pictures) < _MOST_UNFIT else set())
            return "pictures:unfit"
        if refuses_pictures(words):
            self.no_pictures = True
            return "pictures"
        return None

    def _about_system(self, words: str) -> str | None:
        if self.no_system or not _NO_SYSTEM.search(words):
            return None
        self.no_system = True
        return "system"

    def _about_turns(self, words: str, sent: Mapping[str, Any]) -> str | None:
        """That the assistant has to speak behind results."""
        roles = [one.get("role") for one in _messages(sent)]
        if self.turns or ("tool", "user") not in pairwise(roles) or not _TURNS.search(words):
            return None
        self.turns = True
        return "turns"

    def _about_template(self, words: str, sent: Mapping[str, Any]) -> str | None:
        """That the model's template stumbles over a message: calls without a text, or thoughts beside one."""
        if _BOTH.search(words):
            names = [name for name in _GIVEN_BACK if _is_given_back(sent, name) and name not in self.refused_fields]
            self.refused_fields.update(names)
            return f"messages:{names[0]}" if names else None
        stumbles = _TEMPLATE.search(words) and _NULL.search(words)
        if stumbles and not self.no_null_content and _has_null_content(sent):
            self.no_null_content = True
            return "content"
        return None

    def _about_messages(self, words: str, sent: Mapping[str, Any]) -> str | None:
        if not self.nine_ids and _CALL_ID.search(words) and _has_calls(sent):
            self.nine_ids = True
            return "ids"
        if not self.no_stream and sent.get("stream") and _NO_STREAM.search(words):
            self.no_stream = True
            return "stream"
        if not self.no_null_content and _NULL_CONTENT.search(words) and _has_null_content(sent):
            self.no_null_content = True
            return "content"
        if not self.signed and _SIGNATURE.search(words) and _has_calls(sent):
            self.signed = True
            return "signed"
        missing = _MISSING.search(words) and not _THOUGHTS_REFUSED.search(words)
        if "reasoning_content" in words and "reasoning_content" not in self.refused_fields and missing:
            return self._about_thoughts(sent)
        for name in _GIVEN_BACK:
            if re.search(rf"\b{name}\b", words) and _is_given_back(sent, name) and name not in self.refused_fields:
                self.refused_fields.add(name)
                return f"messages:{name}"
        return None

    def _about_thoughts(self, sent: Mapping[str, Any]) -> str | None:
        """That they are missing: with calls; or, where these have them, or there are none, with what was said, too."""
        if not self.all_reasoning:
            self.all_reasoning = True
            if _has_calls(sent) and not _is_given_back(sent, "reasoning_content"):
                return "reasoning"
        if self.reasoning_everywhere:
            return None
        self.reasoning_everywhere = True
        return "reasoning:everywhere"

    def _about_parameters(self, told: Told, sent: Mapping[str, Any]) -> str | None:
        if RESPONSE_FORMAT in sent and _FORMAT.search(f"{told.parameter} {told.words}"):
            self.dropped.add(RESPONSE_FORMAT)
            return RESPONSE_FORMAT
        name = _named(told, [name for name in sent if name not in _BEYOND_DOUBT and name != "tools"])
        if name is None:
            return None
        other = _RENAMED.get(name)
        if other is not None and name not in self.renamed.values():
            self.renamed[name] = other
            return f"{name}:{other}"
        self.dropped.add(name)
        return name


def _named(told: Told, candidates: list[str]) -> str | None:
    """The parameter that the refusal is about: the one that it says, else the one that it names first."""
    parameter = re.split(r"[.\[]", told.parameter)[0]
    if parameter in candidates:
        return parameter
    places = {name: found.start() for name in candidates if (found := _place_of(name, told.words))}
    quoted = [name for name in places if re.search(rf"""['"`]{re.escape(name)}['"`.]""", told.words)]
    return min(quoted or places, key=lambda name: places[name], default=None)


def _place_of(name: str, words: str) -> re.Match[str] | None:
    """Some are words of the language, too: those have to be called a parameter, or stand as one."""
    written = re.escape(name).replace("_", "[_ ]?")
    if name not in _WORDS:
        return re.search(rf"\b{written}\b", words, re.I)
    return re.search(
        rf"""['"`]{written}['"`]|(parameter|argument|field|supplied|name|property|invalid)s?\W{{1,4}}{written}\b"""
        rf"|\b{written}\W{{1,3}}(is |are )?(extra|not|un|invalid)",
        words,
        re.I,
    )


def _has_calls(sent: Mapping[str, Any]) -> bool:
    return any(one.get("tool_calls") for one in _messages(sent))


def _has_null_content(sent: Mapping[str, Any]) -> bool:
    return any(one.get("content", "") is None for one in _messages(sent))


def _is_given_back(sent: Mapping[str, Any], name: str) -> bool:
    return any(name in one or any(name in call for call in one.get("tool_calls") or ()) for one in _messages(sent))


def _messages(sent: Mapping[str, Any]) -> list[dict[str, Any]]:
    messages = sent.get("messages")
    return messages if isinstance(messages, list) else []
