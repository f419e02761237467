"""Thoughts that a server leaves in the text: `<think>…</think>`, or other tags of models, at its beginning, in whatever
pieces.

Guarantees: only tags at the very beginning (behind whitespace, or behind other thoughts) are taken for tags; nothing is
held back that cannot be one; what comes out, joined, is the text without the tags and the whitespace around them. Of a
text that begins with a channel instead (channels.py), `channels` says which kind, and nothing of it comes out.
"""

import re
from typing import Literal

from sluiceway_llm.reading.channels import BEGINNINGS, BareChannels, Channels, channels_of

NAMES = ("think", "thinking", "thought", "thoughts", "reasoning")
# Some models have their own.
_TAGS = {f"<{name}>": f"</{name}>" for name in (*NAMES, "seed:think")} | {
    "[think]": "[/think]",
    "◁think▷": "◁/think▷",
    "<|channel>thought": "<channel|>",  # Gemma's
    "<|start_thinking|>": "<|end_thinking|>",  # Cohere's
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|inner_prefix|>": "<|inner_suffix|>",  # Apertus's
}
_OPENING = re.compile("|".join(map(re.escape, _TAGS)), re.IGNORECASE)
_WHOLE = "|".join(rf"{re.escape(begin)}.*?(?:{re.escape(end)}\s*|\Z)" for begin, end in _TAGS.items())
_AT_BEGINNING = re.compile(rf"\s*(?:{_WHOLE})", re.IGNORECASE | re.DOTALL)

_MOST_THOUGHTS = 100

Said = list[tuple[Literal["text", "reasoning"], str]]


def without_thoughts(text: str) -> str:
    """A whole text without the thoughts at its beginning."""
    while (found := _AT_BEGINNING.match(text)) is not None:
        text = text[found.end() :]
    return text


class ThinkSplitter:
    """`done` once the text has begun: from then on nothing is looked at any more."""

    def __init__(self) -> None:
        self.done = False
        self.channels: Channels | BareChannels | None = None
        self._held = ""
        self._tag = ""
        self._thought_any = False
        self._thoughts = 0
        self._fresh = True

    @property
    def thought(self) -> bool:
        """Whether there were tags."""
        return self._thought_any or bool(self._tag)

    def feed(self, piece: str) -> Said:
        self._held += piece
        said: Said = []
        while not (self.done or self.channels) and (self._inside(said) if self._tag else self._outside(said)):
            pass
        if self.done and self._held:
            said.append(("text", self._take(len(self._held))))
        return said

    def rest(self, *, answered: bool = False) -> Said:
        """What was held when the text ended."""
        kept = self._take(len(self._held))
        if self._tag:
            return [("reasoning", kept)] if kept else []
        self.done = True
        kept = kept.lstrip() if self._thought_any else kept
        return [("text", kept)] if kept else []

    def _outside(self, said: Said) -> bool:
        """Whether there is more to look at."""
        begun = self._held.lstrip()
        found = _OPENING.match(begun)
        if found is not None and self._thoughts < _MOST_THOUGHTS:
            self._thoughts += 1
            self._tag, self._held, self._fresh = _TAGS[found[0].lower()], begun[found.end() :], True
            return True
        if any(tag.startswith(begun.lower()) for tag in _TAGS) or any(word.startswith(begun) for word in BEGINNINGS):
            return False
        if (channels := channels_of(begun)) is not None:
            self.channels, self._held = channels, begun
            return False
        if self._thought_any:
            self._held = begun
        self.done = True
        return False

    def _inside(self, said: Said) -> bool:
        if self._fresh:
            self._held = self._held.lstrip()
            self._fresh = not self._held
        closing = self._tag
        lowered = self._held.lower()
        at = lowered.find(closing) if len(lowered) == len(self._held) else self._held.find(closing)
        if at >= 0:
            self._think(said, at)
            self._held, self._tag, self._thought_any = self._held[len(closing) :], "", True
            return True
        self._think(said, len(self._held) - _kept_back(lowered, closing))
        return False

    def _think(self, said: Said, length: int) -> None:
        if thought := self._take(length):
            said.append(("reasoning", thought))

    def _take(self, length: int) -> str:
        taken, self._held = self._held[:length], self._held[length:]
        return taken


def _kept_back(text: str, closing: str) -> int:
    """How many characters at the end may be the beginning of the closing tag."""
    at = text.rfind(closing[0], max(0, len(text) - len(closing)))
    return len(text) - at if at >= 0 and closing.startswith(text[at:]) else 0
