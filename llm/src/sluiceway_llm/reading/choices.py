"""The choices of a chunk: which of them is the answer, what it says, and how it ends."""

from collections.abc import Collection
from typing import Any

from sluiceway_llm.clean_text import label_of
from sluiceway_llm.error_words import is_error
from sluiceway_llm.model_errors import ModelGarbage, error_in_stream
from sluiceway_llm.model_events import ModelEvent, Provided
from sluiceway_llm.reading.deltas import DeltaReader
from sluiceway_llm.reading.ends import good_end, reason_in
from sluiceway_llm.reading.shapes import first_choice


class ChoiceReader:
    """Reads the choices of one answer's chunks. Its parameters are those of a ChunkReader."""

    def __init__(
        self, secret: str, tool_names: Collection[str], *, continues: bool, thinks_first: bool, of_json: bool
    ) -> None:
        self._secret = secret
        self._deltas = DeltaReader(secret, tool_names, continues=continues, thinks_first=thinks_first, of_json=of_json)
        self._calls = self._deltas.calls
        self._said = self._deltas.said
        self._choice: Any = None
        self._calls_choice: tuple[Any] | None = None
        self._by_deltas = False
        self.reason: str | None = None
        """Why the answer ended, where it is known."""
        self.bad_end = ""
        """The word it ended with, where that is not known to be good."""

    @property
    def any_said(self) -> bool:
        return self._deltas.any_said or self._said.calls_in_text

    @property
    def any_calls(self) -> bool:
        return self._calls.any

    @property
    def thinks_first(self) -> bool:
        return self._said.thinks_first

    @property
    def ended(self) -> bool:
        return self.reason is not None or bool(self.bad_end)

    @property
    def broken_off(self) -> bool:
        """In the middle of a call, and nothing was told of an end."""
        return self.reason is None and self._calls.broken

    @property
    def good_reason(self) -> str | None:
        """Why the answer ended; "tool_calls" only where there are any."""
        return "stop" if self.reason == "tool_calls" and not self._calls.any else self.reason

    def provided(self, by: str) -> Provided | None:
        """What goes back to `by` with the answer: nothing, where it calls no tool."""
        return self._deltas.provided(by) if self._calls.any else None

    def let_go(self, events: list[ModelEvent]) -> None:
        """Tell what was held back, where the answer ends or breaks off."""
        self._said.let_go(events, answered=self.reason == "stop")
        self._calls.close(events)

    def read(self, choices: Any, events: list[ModelEvent]) -> None:
        choice = choices[0] if type(choices) is list and len(choices) == 1 else None
        if choice is None:
            choice = first_choice(choices)
        if type(choice) is not dict:
            raise ModelGarbage
        if (index := choice.get("index")) != self._choice and index is not None:
            if self._choice is not None and self._is_another(index) and self.any_said:
                self._read_other(choice, events)
                return
            self._choice = index
        if type(choices) is list and len(choices) > 1:
            for other in choices:
                if other is not choice:
                    self._read_other(other, events)
        delta = choice.get("delta")
        if delta:
            self._read_message(delta, events)
            if not self._by_deltas:
                self._by_deltas = self.any_said
        if "message" in choice or "text" in choice or "tool_calls" in choice:
            self._read_whole(choice, events)
        ended = choice.get("finish_reason") or "finishReason" in choice or choice.get("stop_reason")
        if ended and (reason := reason_in(choice)) is not None:
            self.end(reason)
        if (error := choice.get("error")) is not None and is_error(error):
            raise error_in_stream(choice, self._secret)

    def _read_message(self, message: Any, events: list[ModelEvent]) -> None:
        if type(message) is dict:
            self._deltas.read(message, events)
        elif isinstance(message, str):
            self._said.say(message, events)
        else:
            raise ModelGarbage

    def _read_whole(self, choice: dict[str, Any], events: list[ModelEvent]) -> None:
        """A whole message. Of one that repeats what the deltas have said, nothing is told but the calls that they have
        not made."""
        message = choice.get("message") or choice.get("text")
        if message and not self._by_deltas:
            self._read_message(message, events)
        elif isinstance(message, dict) and not self._calls.any:
            self._calls.read_all(message.get("tool_calls"), events)
        if not self._calls.any:
            self._calls.read_all(choice.get("tool_calls"), events)
        if isinstance(message, dict) and is_error(message.get("error")):
            raise error_in_stream(message, self._secret)

    def _is_another(self, index: Any) -> bool:
        """Whether this is another answer. Some servers number the pieces instead, from 1 on."""
        last = self._choice
        numbered = type(index) is int and type(last) is int and last > 0 and index == last + 1
        return str(index) != str(last) and not numbered

    def _read_other(self, choice: Any, events: list[ModelEvent]) -> None:
        """Another answer to the same question, which nobody asked for; but some servers give the text in one choice
        and its calls in another."""
        delta = (choice.get("delta") or choice.get("message")) if isinstance(choice, dict) else None
        of_calls = isinstance(delta, dict) and delta.get("tool_calls") and not delta.get("content")
        index = choice.get("index") if isinstance(choice, dict) else None
        if of_calls and not self._calls.any:
            self._calls_choice = (index,)
        if self._calls_choice != (index,):
            return
        self._calls.read_all(delta.get("tool_calls") if isinstance(delta, dict) else None, events)
        if (reason := reason_in(choice)) is not None:
            self.end(reason)

    def end(self, told: str) -> None:
        reason = good_end(told)
        if reason is None:
            self.bad_end = label_of(told, 60) or "unknown"
        elif not (self.reason == "length" or (self.reason and reason == "stop")):
            self.reason = reason
