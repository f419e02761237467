"""Tokens of a model's template that a server leaves at the edges of a text: whose turn it is, and that it is over.

Guarantees: only what stands at the very beginning, or at the very end, and not in quotes. Any split of the text gives
the same; nothing is held back that cannot be such a token.
"""

import re

_LEADS = (
    "<|im_start|>assistant",
    "<|start_header_id|>assistant<|end_header_id|>",
    "<|start_of_role|>assistant<|end_of_role|>",
    "<start_of_turn>model",
    "<|assistant|>",
    "<|begin_of_text|>",
    "<bos>",
    "<\uff5cAssistant\uff5c>",
    "<\uff5cbegin\u2581of\u2581sentence\uff5c>",
)
_ENDS = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<|end_of_turn|>",
    "<|end|>",
    "<|eos|>",
    "<end_of_turn>",
    "<eos>",
    "</s>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
)
_LEAD = re.compile(rf"\s*+(?:(?:{'|'.join(map(re.escape, _LEADS))})\s*+)++")
_TAIL = re.compile(rf"(?:(?:{'|'.join(map(re.escape, _ENDS))})\s*+)*+")
_LONGEST_END_CHARS = max(map(len, _ENDS))
_MOST_HELD_CHARS = 4000
"""More is no end of a text, but a model that repeats it."""
_STRUCK = "<s>"  # of which `</s>` is the end in HTML
_SECOND = {"", *(token[1] for token in _ENDS)}
_QUOTES = ("`", '"', "'")


def is_end(text: str) -> bool:
    """Whether there is nothing but such tokens."""
    return _TAIL.fullmatch(text.lstrip()) is not None


class LeadTokens:
    """`done` once the text has begun."""

    def __init__(self) -> None:
        self.done = False
        self._held = ""
        self._found = False

    def feed(self, piece: str) -> str:
        self._held += piece
        if (found := _LEAD.match(self._held)) is not None:
            self._held, self._found = self._held[found.end() :], True
        begun = self._held.lstrip()
        if self._found:
            self._held = begun
        if len(self._held) <= _MOST_HELD_CHARS and any(lead.startswith(begun) for lead in _LEADS):
            return ""
        return self.rest()

    def rest(self) -> str:
        """What was held when the text ended."""
        held, self._held, self.done = self._held, "", True
        return held


class EndTokens:
    """What may be the last tokens is told when it is known that it is not."""

    def __init__(self) -> None:
        self._held = ""
        self._last = ""
        self._struck = False

    @property
    def holds(self) -> bool:
        return bool(self._held)

    def feed(self, piece: str, before: str = "") -> str:
        """`before`: what was told last."""
        if not self._held and "<" not in piece:
            return piece
        text, before = self._held + piece, before[-len(_STRUCK) :]
        place = _end_begins(text)
        if len(text) - place > _MOST_HELD_CHARS:
            place = len(text)
        self._held, self._last = text[place:], (before + text[:place])[-1:]
        self._struck = self._struck or _STRUCK in before + text[:place]
        return text[:place]

    def rest(self) -> str:
        held, self._held = self._held, ""
        over = _TAIL.fullmatch(held) is not None and not self._last.endswith(_QUOTES)
        return "" if over and not (self._struck and held.strip() == "</s>") else held


def _end_begins(text: str) -> int:
    """Where tokens begin that go to its end, of the last perhaps the beginning; its end, where there are none."""
    place = text.find("<")
    while place >= 0:
        after = place + 1
        if text[after : after + 1] in _SECOND:
            tokens = _TAIL.match(text, place)
            end = tokens.end() if tokens is not None else place
            left = text[end : end + _LONGEST_END_CHARS]
            if not left or any(token.startswith(left) for token in _ENDS):
                return place
            after = max(after, end)  # of tokens that are not at the end, none is
        place = text.find("<", after)
    return len(text)
