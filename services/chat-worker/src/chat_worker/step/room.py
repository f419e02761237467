"""How much of an answer is taken: one that never stops ends where its room does."""

import sys
from dataclasses import replace

from sluiceway_llm.clean_text import CleanText
from sluiceway_llm.model_events import ModelEvent, ReasoningDelta, RefusalDelta, TextDelta, ToolCallDelta


class Room:
    """`full`: something was left out; nothing more need be read."""

    def __init__(self, chars: int = sys.maxsize) -> None:
        self._left_chars = chars
        self.full = False

    def fit(self, event: ModelEvent) -> ModelEvent:
        """The event, or as much of it as there is room for."""
        match event:
            case TextDelta(text) | RefusalDelta(text) | ReasoningDelta(text):
                taken = self._take(text)
                return event if taken == text else replace(event, text=taken)
            case ToolCallDelta():
                taken = self._take(event.arguments)
                return event if taken == event.arguments else replace(event, arguments=taken)
            case _:
                return event

    def _take(self, text: CleanText) -> CleanText:
        taken = text if len(text) <= self._left_chars else CleanText(text[: self._left_chars])
        self.full = self.full or len(taken) < len(text)
        self._left_chars -= len(taken)
        return taken
