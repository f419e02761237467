"""What a delta, or a whole message, says: text, thoughts, calls, a refusal, and what its server wants to have back."""

from collections.abc import Collection
from typing import Any

from sluiceway_llm.error_words import is_error
from sluiceway_llm.model_errors import error_in_stream
from sluiceway_llm.model_events import ModelEvent, Provided
from sluiceway_llm.reading.provided_fields import FIELDS, ProvidedFields
from sluiceway_llm.reading.said_text import SaidText
from sluiceway_llm.reading.shapes import flat_text
from sluiceway_llm.reading.tool_calls import CallAssembler

_REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_text", "thinking")
_THOUGHTS_IN = frozenset({"reasoning_details", "thinking_blocks"})


class DeltaReader:
    """Reads the deltas of one answer, one after the other. Its parameters are those of a ChunkReader."""

    def __init__(
        self, secret: str, tool_names: Collection[str], *, continues: bool, thinks_first: bool, of_json: bool
    ) -> None:
        self._secret = secret
        self._provided = ProvidedFields()
        self._reasoning_field = ""
        self.calls = CallAssembler(tool_names)
        self.said = SaidText(self.calls, tool_names, continues=continues, thinks_first=thinks_first, of_json=of_json)
        self.any_said = False
        """Whether any delta has said anything."""

    def provided(self, by: str) -> Provided:
        return Provided(by, self._provided.cleaned(), self.calls.extras, self._reasoning_field)

    def read(self, delta: dict[str, Any], events: list[ModelEvent]) -> None:
        content = delta.get("content")
        if len(delta) == 1 and type(content) is str:
            if content:
                self.any_said = True
                self.said.say(content, events)
            return
        self._read_beside_content(delta, events)
        if content is None:
            content = delta.get("text")
        if content is not None and content != "":
            self.any_said = True
            if type(content) is not str:
                self.said.say_parts(content, events)
            elif "extra_content" in delta and self._is_thought(delta, content):
                self.said.think(content, events)
            else:
                self.said.say(content, events)
        if refusal := delta.get("refusal"):
            self.said.refuse(refusal, events)
        if calls := delta.get("tool_calls"):
            self.any_said = True
            if not self.said.calls_in_text:
                self.calls.read_all(calls, events)
        elif call := delta.get("function_call"):
            self.any_said = True
            self.calls.read(call, events)
        if "error" in delta and is_error(delta["error"]):
            raise error_in_stream(delta, self._secret)

    def _is_thought(self, delta: dict[str, Any], content: str) -> bool:
        """Gemini's mark of a thought; where there are tags, too, they tell where it ends."""
        extra = delta.get("extra_content")
        google = extra.get("google") if isinstance(extra, dict) else None
        marked = isinstance(google, dict) and google.get("thought") is True
        return marked and not self.said.in_tags(content)

    def _read_beside_content(self, delta: dict[str, Any], events: list[ModelEvent]) -> None:
        thought = ""
        for name in _REASONING_FIELDS:
            told = delta.get(name)
            if isinstance(told, str) and not self._reasoning_field:
                self._reasoning_field = name if name != "thinking" else ""
            if told and (thought := flat_text(told)):
                if isinstance(told, str) and name != "thinking":
                    self._reasoning_field = name
                break
        for name in delta:
            if name in FIELDS:
                self._provided.take(name, delta[name])
                if not thought and name in _THOUGHTS_IN:
                    thought = flat_text(delta[name])
        if thought:
            self.any_said = True
            self.said.think_apart(thought, events)
