"""Continuing an answer that was begun, where the server takes its beginning as the last message.

Guarantees
- What follows the beginning is handed on as new text, once. A server that repeats the beginning in its answer (Mistral
  does, vLLM and llama.cpp have done it) is heard from where the repetition ends.
- Spaces at the end of the beginning are kept back from the server: tokens begin with spaces, so models continue badly
  behind one. What the model then says of them is not said twice.
It does not promise to tell a repetition from an answer that continues with the very words of its beginning, where the
server is one that repeats it.

Sources: vLLM's and transformers' `continue_final_message`; llama.cpp pull request 13174; the field `prefix` of Mistral
and DeepSeek.
"""

from collections.abc import Callable
from typing import Any, Literal

from sluiceway_llm.clean_text import CleanText
from sluiceway_llm.model_events import ModelEvent, TextDelta

PrefixDialect = Literal["vllm", "llama.cpp", "mistral"]

# Those that are known to repeat the beginning. Of others only a first delta is taken for a repetition that has all of
# it, and is longer than a token: a model that says the same words once more says them token by token.
_REPEAT_IN_PIECES = frozenset({"mistral"})
_LONGEST_TOKEN = 16


def continuing(dialect: PrefixDialect, messages: list[dict[str, Any]], prefix: str) -> dict[str, Any]:
    """The fields of a request that ask for the rest of an answer which begins with `prefix`."""
    beginning: dict[str, Any] = {"role": "assistant", "content": prefix.rstrip()}
    match dialect:
        case "vllm":
            return {
                "messages": [*messages, beginning],
                "continue_final_message": True,
                "add_generation_prompt": False,
            }
        case "llama.cpp":
            return {"messages": [*messages, beginning]}
        case "mistral":
            return {"messages": [*messages, beginning | {"prefix": True}]}


class Seam:
    """What the server says, as it reads behind the beginning. A beginning has to have more in it than blanks."""

    def __init__(self, dialect: PrefixDialect, prefix: str) -> None:
        self._repeated = prefix.strip()
        self._blanks = prefix[len(prefix.rstrip()) :]
        self._in_pieces = dialect in _REPEAT_IN_PIECES
        self._held = ""
        self._read: Callable[[str], str] = self._look_for_repetition

    def read(self, events: list[ModelEvent]) -> list[ModelEvent]:
        """The events without what was shown already. Text that may turn out to be a repetition is held for so long."""
        told: list[ModelEvent] = []
        for event in events:
            text = self._read(event.text) if isinstance(event, TextDelta) else self._let_go()
            if text:
                told.append(TextDelta(CleanText(text)))
            if not isinstance(event, TextDelta):
                told.append(event)
        return told

    def _look_for_repetition(self, text: str) -> str:
        self._held += text
        said = self._held.lstrip()
        if said.startswith(self._repeated) and (self._in_pieces or len(self._repeated) > _LONGEST_TOKEN):
            self._held = said.removeprefix(self._repeated)
        elif (self._in_pieces or not said) and self._repeated.startswith(said):
            return ""
        return self._let_go()

    def _let_go(self) -> str:
        """What was held was no repetition, or is what comes behind it."""
        text, self._held, self._read = self._held, "", self._leave_out_blanks
        return self._leave_out_blanks(text)

    def _leave_out_blanks(self, text: str) -> str:
        same = 0
        while same < min(len(text), len(self._blanks)) and text[same] == self._blanks[same]:
            same += 1
        text, self._blanks = text[same:], self._blanks[same:] if same == len(text) else ""
        return text
