"""Channels that a server leaves in the text: what gpt-oss writes ("harmony"), where nobody has parsed it.

    <|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>…<|return|>
    <|start|>assistant<|channel|>commentary to=functions.note <|constrain|>json<|message|>{…}<|call|>

What is addressed to a function is a call, in whatever channel and wherever in its header it says so; `analysis`, and
what the model wrote in another's name, is a thought; anything else is text. Some servers drop the special tokens and
leave the words between them: `analysisHm.assistantfinalYes.`

Guarantees: only a text that begins so is read so. Any split of the text gives the same; nothing is held back that
cannot be a token or a header; an answer that has only looked like one is told as text at its end.
"""

import re
from dataclasses import dataclass

_OPENING = re.compile(r"<\|(?:start\|>assistant\b|channel\|>|message\|>)")
# Without the tokens. An answer may begin with it, too, such as `analysisResult = 1`: see `BareChannels.rest`.
_BARE_OPENING = re.compile(r"analysis(?=[A-Z])|(?:analysis|commentary)(?= to=functions\.)")
BEGINNINGS = ("<|start|>assistant", "<|channel|>", "<|message|>", "analysis to=functions.", "commentary to=functions.")
"""A text that is the beginning of one of these may become one with channels."""
_TOKEN = re.compile(r"<\|(start|channel|message|constrain|end|return|call)\|>")
_TOKEN_BEGUN = re.compile(r"<(?:\|[a-z]{0,9}\|?)?\Z")
_RECIPIENT = re.compile(r"\bto=([^\s<{]+)")
_CHANNEL = re.compile(r"<\|channel\|>\s*([a-z]+)")
_BARE_HEADER = re.compile(r"assistant(?:\s+(?:to?|to=.{0,100})?)?\Z")
_ROLE = re.compile(r"(?:<\|start\|>)?\s*([^\s<]*)")
# `++`: a shorter recipient is never followed by less, and would be tried again and again.
_BARE = re.compile(r"assistant(final|analysis|commentary)(?: to=([^\s{]++)[^{]{0,40}+(?=\{))?")
_BARE_WORDS = ("assistantfinal", "assistantanalysis to=", "assistantcommentary to=")
_BARE_BEGUN = re.compile(
    "(?:{}|assistant(?:analysis|commentary) to=[^{{]{{0,100}})\\Z".format(
        "|".join(word[:length] for word in _BARE_WORDS for length in range(len(word) - 1, 0, -1))
    )
)
_MOST_HEADER_CHARS = 500
_MOST_BEGUN_CHARS = 150
_OURS = frozenset({"", "assistant"})
_NO_TOOL = frozenset({"assistant", "user", "all", "self"})
_BETWEEN = "\n\n"


@dataclass(frozen=True, slots=True)
class CallPiece:
    """Of the call with this number: its name, with the first piece, and more of its arguments."""

    number: int
    name: str | None
    arguments: str


Heard = tuple[str, str] | CallPiece


class _Body:
    """Where what is written goes until the next header."""

    def __init__(self) -> None:
        self._kind = "text"
        self._said: set[str] = set()
        self._calls = 0
        self._begun = False

    @property
    def calls(self) -> bool:
        return self._kind == "call"

    @property
    def thinks(self) -> bool:
        return self._kind == "reasoning" and self._begun

    def of_text(self) -> None:
        self._kind, self._begun = "text", False

    def of_thought(self) -> None:
        self._kind, self._begun = "reasoning", False

    def of_call(self, recipient: str) -> CallPiece:
        self._kind, self._calls = "call", self._calls + 1
        return CallPiece(self._calls - 1, recipient.removeprefix("functions."), "")

    def write(self, text: str) -> list[Heard]:
        if not text:
            return []
        if self.calls:
            return [CallPiece(self._calls - 1, None, text)]
        apart = "" if self._begun or self._kind not in self._said else _BETWEEN
        self._begun = True
        self._said.add(self._kind)
        return [(self._kind, apart + text)]


class Channels:
    """A text with its tokens, told as `ThinkSplitter` does."""

    done = False
    thought = True

    def __init__(self) -> None:
        self._held = ""
        self._in_thoughts = False
        self._header: str | None = ""
        """What is known of the next message's header; None: we are in the message."""
        self._body = _Body()

    def of_thoughts(self, *, begun: bool) -> None:
        """It is a field of thoughts: what has no header is one. `begun`: its first header is not there."""
        self._in_thoughts = True
        if begun:
            self._header = None
            self._body.of_thought()

    @property
    def thinks(self) -> bool:
        """Whether it is in the middle of a thought."""
        return self._header is None and not self._held and self._body.thinks

    def feed(self, piece: str) -> list[Heard]:
        if self._header is None and not self._held and "<" not in piece:
            return self._body.write(piece)
        text, place = self._held + piece, 0
        heard: list[Heard] = []
        for found in _TOKEN.finditer(text):
            heard += self._take(text[place : found.start()])
            heard += self._turn(found[1])
            place = found.end()
        begun = _TOKEN_BEGUN.search(text, place)
        ready = len(text) if begun is None else begun.start()
        self._held = text[ready:]
        return heard + self._take(text[place:ready])

    def rest(self, *, answered: bool) -> list[Heard]:
        """What was held when the text ended; of a header that leads to nothing, nothing."""
        text, self._held = self._held, ""
        if self._header is None:
            return self._body.write(text)
        header, self._header = (self._header + text).strip(), None
        return [] if "<|" in header or header in _OURS else self._untitled(header)

    def _take(self, text: str) -> list[Heard]:
        if self._header is None:
            return self._body.write(text)
        self._header += text
        header = self._header.strip()
        may_be_one = "<|" in header or "assistant".startswith(header) or _BARE_HEADER.match(header)
        if may_be_one and len(header) <= _MOST_HEADER_CHARS:
            return []
        text, self._header = self._header.lstrip(), None
        return self._untitled(text)

    def _untitled(self, text: str) -> list[Heard]:
        """Without a header."""
        if self._in_thoughts:
            self._body.of_thought()
        else:
            self._body.of_text()
        return self._body.write(text)

    def _turn(self, name: str) -> list[Heard]:
        if name == "message":
            header, self._header = self._header or "", None
            return self._begin(header)
        if name in ("end", "return", "call"):
            self._header = ""
        else:
            self._header = f"{self._header or ''}<|{name}|>"
        return []

    def _begin(self, header: str) -> list[Heard]:
        recipient, channel, role = _RECIPIENT.search(header), _CHANNEL.search(header), _ROLE.match(header)
        ours = role is None or role[1] in _OURS
        if ours and recipient is not None and recipient[1] not in _NO_TOOL:
            return [self._body.of_call(recipient[1])]
        if not ours or (channel is not None and channel[1] == "analysis"):
            self._body.of_thought()
        else:
            self._body.of_text()
        return []


class BareChannels:
    """A text of which the tokens were dropped: they are put back."""

    done = False
    thought = True

    def __init__(self) -> None:
        self._held = "assistant"  # which is not there in front of the first channel's name
        self._channels = Channels()
        self._told: list[str] = []
        self._answers = False

    def feed(self, piece: str) -> list[Heard]:
        self._told.append(piece)
        text, place = self._held + piece, 0
        heard: list[Heard] = []
        begun = _BARE_BEGUN.search(text, max(0, len(text) - _MOST_BEGUN_CHARS))
        ready = len(text) if begun is None else begun.start()
        for found in _BARE.finditer(text, 0, ready):
            channel, recipient = found[1], found[2]
            self._answers = self._answers or channel != "analysis" or recipient is not None
            address = f" to={recipient}" if recipient else ""
            header = f"<|end|><|start|>assistant<|channel|>{channel}{address}<|message|>"
            heard += self._channels.feed(text[place : found.start()] + header)
            place = found.end()
        self._held = text[ready:]
        return heard + self._channels.feed(text[place:ready])

    def rest(self, *, answered: bool) -> list[Heard]:
        """What was held when the text ended; all of it again, as text, where it was an answer that began with such a
        word."""
        heard = [*self._channels.feed(self._held), *self._channels.rest(answered=answered)]
        self._held = ""
        return [*heard, ("text", "".join(self._told))] if answered and not self._answers else heard


def channels_of(text: str) -> Channels | BareChannels | None:
    """Who reads a text that begins so; None: there are no channels in it."""
    if _OPENING.match(text):
        return Channels()
    return BareChannels() if _BARE_OPENING.match(text) else None
