"""The words of an answer, told apart: text, thoughts and refusals, and the calls that some servers leave in the text.

Thoughts stand in fields of their own, in tags, behind no tag at all, or in channels; whichever it is, what comes out is
clean, and each word is told once, as what it is.
"""

from collections import deque
from collections.abc import Collection, Sequence
from typing import Any

from sluiceway_llm.clean_text import TextJoiner
from sluiceway_llm.model_events import ModelEvent, ReasoningDelta, RefusalDelta, TextDelta
from sluiceway_llm.reading.bare_calls import BareCalls
from sluiceway_llm.reading.channels import BareChannels, CallPiece, Channels, Heard
from sluiceway_llm.reading.edge_tokens import EndTokens, LeadTokens
from sluiceway_llm.reading.shapes import flat_text
from sluiceway_llm.reading.think_tags import ThinkSplitter
from sluiceway_llm.reading.thought_text import ThoughtText
from sluiceway_llm.reading.tool_calls import CallAssembler
from sluiceway_llm.reading.unopened_thoughts import UnopenedThoughts, WatchedText
from sluiceway_llm.reading.written_calls import WrittenCalls

_REASONING_PARTS = frozenset({"thinking", "reasoning", "reasoning.text", "reasoning.summary", "summary_text"})


# Pieces, for a quote in front of a mark.
_MOST_RECENT = 8


class SaidText:
    """`calls`: where calls in the text go. `tool_names`: of the tools that were offered. `continues`: the answer was
    begun before, so its beginning is not here. `thinks_first`: thoughts come first, and only their end is told;
    afterwards, whether that was so here. `of_json`: JSON was asked for, so that it is no call."""

    def __init__(
        self, calls: CallAssembler, tool_names: Collection[str], *, continues: bool, thinks_first: bool, of_json: bool
    ) -> None:
        self._calls = calls
        self._text, self._reasoning, self._refusal = TextJoiner(), TextJoiner(), TextJoiner()
        self._thinking: ThinkSplitter | Channels | BareChannels | None = None if continues else ThinkSplitter()
        self._unopened: WatchedText | UnopenedThoughts | None = None
        if not continues:
            self._unopened = UnopenedThoughts() if thinks_first else WatchedText()
        self._thoughts = ThoughtText()
        self._written, self._in_thoughts = WrittenCalls(tool_names), WrittenCalls(tool_names)
        self._bare = None if continues or of_json or not tool_names else BareCalls(tool_names)
        self._lead = None if continues else LeadTokens()
        self._end = EndTokens()
        # What was told last, and whether some of what follows it is held: most pieces need no look.
        self._recent: deque[str] = deque(maxlen=_MOST_RECENT)
        self._holds = self._holds_thought = self._plain_thoughts = False
        # Nothing is held, and nothing looked for that begins without a mark or a line.
        self._plain = False
        self.thinks_first = thinks_first
        self.calls_in_text = False
        self._thinks_apart = False
        self._any = False

    def in_tags(self, content: str) -> bool:
        """Whether tags tell where a thought ends."""
        return self._thinking is not None and (self._thinking.thought or content.lstrip().startswith("<"))

    def say(self, text: str, events: list[ModelEvent]) -> None:
        if self._plain and not ("<" in text or "[" in text or "\n" in text):
            self._recent.append(text)
            if clean := self._text.feed(text):
                events.append(TextDelta(clean))
            return
        self._say_with_care(text, events)
        self._plain = self._is_plain()

    def _is_plain(self) -> bool:
        """Whether a piece that has no mark and begins no line is told as it is."""
        begun = self._any and self._lead is None and self._thinking is None
        holds = self._holds or self._holds_thought or self._thoughts.held
        return begun and not holds and (self._unopened is None or self._unopened.plain)

    def _say_with_care(self, text: str, events: list[ModelEvent]) -> None:
        if self._thoughts.held:
            self.think(self._thoughts.rest(), events)
        if self._lead is not None:
            text = self._lead.feed(text)
            if self._lead.done:
                self._lead = None
        if self._thinking is not None:
            self._tell_split(self._thinking.feed(text), events)
            if isinstance(self._thinking, ThinkSplitter) and (channels := self._thinking.channels) is not None:
                begun = self._thinking.rest()
                self._thinking, self._unopened = channels, None
                for _, held in begun:
                    self._tell_split(channels.feed(held), events)
            elif self._thinking.done:
                self._thinking = None
        elif self._unopened is not None:
            self._tell(self._unopened.feed(text), events)
        else:
            self._tell([("text", text)], events)

    def _tell_split(self, said: Sequence[Heard], events: list[ModelEvent]) -> None:
        if self._thinking is not None and self._thinking.thought:
            self._unopened = None
        for heard in said:
            if isinstance(heard, CallPiece):
                self._call(heard, events)
                continue
            kind, text = heard
            watching = self._unopened if kind == "text" else None
            self._tell([(kind, text)] if watching is None else watching.feed(text), events)

    def _call(self, piece: CallPiece, events: list[ModelEvent]) -> None:
        """A call in the text, of a server that has not made it one; or has, and left it there."""
        if self.calls_in_text or not self._calls.any:
            self.calls_in_text = True
            function = {"name": piece.name, "arguments": piece.arguments}
            self._calls.read({"index": piece.number, "function": function}, events)

    def _tell(self, said: Sequence[tuple[str, str]], events: list[ModelEvent]) -> None:
        for kind, text in said:
            if kind == "reasoning":
                self.think(text, events)
                continue
            if self._holds or self._bare is not None or "<" in text or "[" in text:
                text = self._unmarked(text)
            if text:
                self._recent.append(text)
                self._tell_text(text, events)

    def _unmarked(self, text: str) -> str:
        """What of it is text for sure: no call, and no token at the end."""
        if self._bare is not None:
            text = self._bare.feed(text)
            if self._bare.over:
                self._bare = None
        before = "".join(self._recent)
        text = self._end.feed(self._written.feed(text, before), before)
        self._holds = self._bare is not None or self._written.holds or self._end.holds
        return text

    def _tell_text(self, text: str, events: list[ModelEvent]) -> None:
        if clean := self._text.feed(text):
            if self._holds_thought:
                self._let_thought_go(events)
            self._any = True
            events.append(TextDelta(clean))

    def think(self, text: str, events: list[ModelEvent]) -> None:
        self._plain = False
        if self._holds_thought or "<" in text or "[" in text:
            text = self._in_thoughts.feed(text)
            self._holds_thought = self._in_thoughts.holds
        self._tell_thought(text, events)

    def _let_thought_go(self, events: list[ModelEvent]) -> None:
        self._holds_thought = False
        self._tell_thought(self._in_thoughts.flush(), events)

    def _tell_thought(self, text: str, events: list[ModelEvent]) -> None:
        if clean := self._reasoning.feed(text):
            events.append(ReasoningDelta(clean))

    def refuse(self, refusal: Any, events: list[ModelEvent]) -> None:
        if clean := self._refusal.feed(flat_text(refusal)):
            self._any = True
            events.append(RefusalDelta(clean))

    def say_parts(self, content: Any, events: list[ModelEvent]) -> None:
        """Content as a list: texts, and thinking that may be a list of texts itself. A number is a text, too."""
        for part in content if isinstance(content, list) else [content]:
            kind = part.get("type") if isinstance(part, dict) else None
            text = flat_text(part)
            if not text:
                continue
            if isinstance(kind, str) and kind in _REASONING_PARTS:
                self.think(text, events)
            elif kind == "refusal":
                self.refuse(text, events)
            else:
                self.say(text, events)

    def think_apart(self, thought: str, events: list[ModelEvent]) -> None:
        """A thought in a field of its own."""
        if isinstance(self._unopened, UnopenedThoughts) and not self._any:
            # The server tells thoughts apart, so what was held back as one is none.
            self._tell(self._unopened.rest(answered=False), events)
            self._unopened, self.thinks_first = WatchedText(), False
        self._thinks_apart = True
        if not self._plain_thoughts or "<" in thought:
            thought = self._thoughts.feed(thought)
            self._plain_thoughts = self._thoughts.plain
        self.think(thought, events)

    def let_go(self, events: list[ModelEvent], *, answered: bool) -> None:
        """Tell what was held back, where the answer ends or breaks off."""
        if self._thoughts.held:
            self.think(self._thoughts.rest(), events)
        if self._lead is not None and (held := self._lead.rest()):
            self._lead = None
            self.say(held, events)
        if self._thinking is not None and not self._thinking.done:
            self._tell_split(self._thinking.rest(answered=answered), events)
        if self._unopened is not None:
            self._tell(self._unopened.rest(answered=answered), events)
            if self._any:
                self.thinks_first = self._unopened.found and not self._thinks_apart
        self._tell_written(events)
        self._tell_aside(events)
        for joiner, kind in ((self._reasoning, ReasoningDelta), (self._text, TextDelta), (self._refusal, RefusalDelta)):
            if rest := joiner.rest():
                events.append(kind(rest))

    def _tell_written(self, events: list[ModelEvent]) -> None:
        """Calls that were left in the text; of those that the server has made, too, nothing. Those in thoughts are made
        where nothing else is said."""
        begun, bare = ("", []) if self._bare is None else self._bare.rest()
        begun = self._written.feed(begun)
        text, written = self._written.rest(made=self._calls.any)
        text = begun + text
        for number, call in enumerate([*bare, *written]):
            self._call(CallPiece(number, call.name, call.arguments), events)
        if text:
            text = self._end.feed(text, "".join(self._recent))
        self._tell_text(text + self._end.rest(), events)
        if self._any or self._calls.any:
            self._let_thought_go(events)
            return
        thought, calls = self._in_thoughts.rest()
        self._tell_thought(thought, events)
        for number, call in enumerate(calls):
            self._call(CallPiece(number, call.name, call.arguments), events)

    def _tell_aside(self, events: list[ModelEvent]) -> None:
        """What stood among the thoughts and is none, of an answer that has nothing else."""
        if self._any or self._calls.any:
            return
        for heard in self._thoughts.aside:
            if isinstance(heard, CallPiece):
                self._call(heard, events)
            else:
                self._tell([("text", heard[1])], events)
