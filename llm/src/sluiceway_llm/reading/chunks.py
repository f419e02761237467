"""One chunk of a chat stream → model events, for the dialects that OpenAI-compatible servers speak.

Guarantees
- An answer is `complete` only with an end that is known to be good (ends.py). An error wins, wherever it stands.
- Side fields, of whatever type, fail nothing: usage, names, null errors, padding, frames that say nothing. What cannot
  be read where the answer itself should be is ModelGarbage: nothing of an answer is lost silently.
- What comes out is clean (clean_text.py): thoughts are told apart also where they stand in tags in the text, and calls
  are kept apart by index, id and where their JSON ends (tool_calls.py).

An event is read here, its choices in choices.py, and what the chosen one says in deltas.py.

The shape is OpenAI's "chat completion chunk object"; a whole "chat completion object" is read, too.
"""

import re
from collections.abc import Collection
from typing import Any

import jiter

from sluiceway_llm.clean_text import MAX_NAME_CHARS, CleanText, label_of
from sluiceway_llm.error_words import is_error
from sluiceway_llm.model_errors import (
    ModelCut,
    ModelEndedBadly,
    ModelError,
    ModelGarbage,
    ModelWrongAddress,
    error_in_stream,
)
from sluiceway_llm.model_events import Finished, ModelEvent, Usage
from sluiceway_llm.reading.choices import ChoiceReader
from sluiceway_llm.reading.ends import reason_in
from sluiceway_llm.reading.loose_json import NotJson, loose_values
from sluiceway_llm.reading.ollama import chunk_of_ollama
from sluiceway_llm.reading.other_apis import advice_of, other_api_of
from sluiceway_llm.reading.shapes import error_status_of, is_completion
from sluiceway_llm.reading.sse_lines import ErrorEvent
from sluiceway_llm.reading.usage import usage_in

_DONE = b"[DONE]"
_WORDS_CHARS = 2000
_DONE_WORDS = frozenset({"[done]", "done"})
_SAYS_ERROR = re.compile(r"\W{0,4}(error|exception|traceback)\b", re.IGNORECASE)
# A page; a field, or the beginning of one, that was cut off; a single word.
_NO_WORDS = re.compile(r"<|(data|event|id|retry)?\s*:|\S*\Z", re.IGNORECASE)
_COMPLAINTS = ("detail", "message", "msg", "error_message", "error_msg", "errorMessage", "errors")
_FAILED = ("error", "failed", "failure")
_WRAPPED_IN = ("data", "result", "output")


class ChunkReader:
    """Reads the chunks of one answer. `over` after `[DONE]`; `complete` when it is known how the answer ended.

    `tool_names`: of the tools that were offered. `by`: which server and model this is, for what it wants to have back.
    `continues`: the answer was begun before, so its beginning is not here. `of_json`: it was asked to be JSON.
    """

    def __init__(
        self,
        secret: str,
        *,
        tool_names: Collection[str] = (),
        by: str = "",
        continues: bool = False,
        thinks_first: bool = False,
        of_json: bool = False,
    ) -> None:
        self._secret = secret
        self._by = by
        self._usage: Usage | None = None
        self._model: CleanText | None = None
        self._choices = ChoiceReader(
            secret, tool_names, continues=continues, thinks_first=thinks_first, of_json=of_json
        )
        self._odd = False
        self._complaint: dict[str, Any] | None = None
        self._other_api = ""
        self._whole = False
        self.over = False
        self.seen_chunk = False

    @property
    def thinks_first(self) -> bool:
        """Whether this server's thoughts come first, and only their end is told."""
        return self._choices.thinks_first

    @property
    def complete(self) -> bool:
        return self.over or self._whole or self._choices.ended

    def read(self, data: bytes, events: list[ModelEvent]) -> None:
        """Appends what the event says. Raises ModelGarbage, or the error that the event tells of."""
        if self.over:
            return
        if type(data) is not bytes and self._read_special(data, events):
            return
        if data.startswith(_DONE):
            self.over = True
            return
        try:
            chunk = jiter.from_json(data)
        except ValueError:
            self._read_loose(data, events)
            return
        self._read_value(chunk, events)

    def read_body(self, body: bytes, events: list[ModelEvent]) -> None:
        """What came outside of events, when the response has ended: a whole completion, an error, lines of chunks."""
        if not body.strip() or self.complete:
            return
        any_before = self.seen_chunk
        try:
            values = loose_values(body)
        except NotJson as error:
            values = error.before
            self._complain_of(body, error)
        for value in values:
            if not self.over:
                self._read_value(value, events)
        if self._choices.any_said or self._choices.any_calls:
            self.over = self.over or (len(values) == 1 and is_completion(values[0]) and not self._choices.bad_end)
        elif self._complaint is not None:
            raise error_in_stream(self._complaint, self._secret)
        self._odd = self._odd or not (self.complete or any_before)

    def _complain_of(self, body: bytes, no_json: NotJson) -> None:
        """Words that are no page: most often a proxy's, of what became of the server behind it."""
        words = body[:_WORDS_CHARS].decode("utf-8", "replace").strip()
        if not (no_json.begun or no_json.before or self._complaint or _NO_WORDS.match(words)):
            self._complaint = {"message": words}

    def let_go(self, events: list[ModelEvent]) -> None:
        """Tell what was held back, where the answer ends or breaks off."""
        self._choices.let_go(events)

    def finished(self) -> Finished:
        """The last event. Raises ModelCut, or another ModelError, when the answer is not known to be whole."""
        if bad_end := self._choices.bad_end:
            raise ModelEndedBadly(f"The model server ended the answer with an error ({bad_end}). Please try again.")
        if self._other_api and not self._choices.any_said:
            raise self.unended(ModelCut())
        if not self.complete or self._choices.broken_off:
            raise self.unended(ModelGarbage() if self._odd else ModelCut())
        return Finished(self._choices.good_reason, self._usage, self._model, self._choices.provided(self._by))

    def unended(self, otherwise: ModelError) -> ModelError:
        """Why the answer has no end: what the server complained of, if it did, or that it speaks something else."""
        if self._other_api and not self._choices.any_said:
            return ModelWrongAddress(advice_of(self._other_api))
        return otherwise if self._complaint is None else error_in_stream(self._complaint, self._secret)

    # Events

    def _read_loose(self, data: bytes, events: list[ModelEvent]) -> None:
        """What a strict parser refuses. A word that is no JSON, such as a keep-alive, says nothing."""
        try:
            values = loose_values(data)
        except NotJson as error:
            self._read_words(data.decode("utf-8", "replace"), error)
            return
        for value in values:
            if not self.over:
                self._read_value(value, events)

    def _read_words(self, text: str, no_json: NotJson) -> None:
        """Words where JSON should be: the end, an error, a keep-alive; or JSON that is broken."""
        if text.strip().lower() in _DONE_WORDS:
            self.over = True
        elif _SAYS_ERROR.match(text):
            raise error_in_stream(text, self._secret)
        elif no_json.begun:
            self._read_error_behind(text)
            raise ModelGarbage from no_json
        else:
            self._odd = self._odd or not _is_keepalive(text)

    def _read_error_behind(self, text: str) -> None:
        """An error that came when an event was half sent, in a line of the same event. Raises it."""
        for line in text.splitlines()[1:]:
            try:
                values = loose_values(line.encode("utf-8", "replace"))
            except NotJson:
                continue
            for value in values:
                if isinstance(value, dict) and is_error(value.get("error")):
                    raise error_in_stream(value, self._secret)

    def _read_special(self, data: bytes, events: list[ModelEvent]) -> bool:
        """An event that is an error, or an object that stood there without one. Whether it was read with this."""
        try:
            values: list[Any] = loose_values(data)
        except NotJson:
            values = [data.decode("utf-8", "replace")]
        value = values[0] if values else None
        if isinstance(data, ErrorEvent):
            raise error_in_stream(value, self._secret)
        self._whole = not self.seen_chunk and is_completion(value)
        return False

    def _read_value(self, chunk: Any, events: list[ModelEvent]) -> None:
        if type(chunk) is not dict:
            self._read_no_object(chunk, events)
            return
        choices = chunk.get("choices")
        if choices:
            self.seen_chunk = True
            self._choices.read(choices, events)
        elif "choices" in chunk:
            self.seen_chunk = True
            if (reason := reason_in(chunk)) is not None:
                self._choices.end(reason)
            if error_status_of(chunk) is not None:
                raise error_in_stream(chunk, self._secret)
        else:
            self._read_side_frame(chunk, events)
        if "base_resp" in chunk and error_status_of(chunk) is not None:
            raise error_in_stream(chunk, self._secret)
        if (error := chunk.get("error")) is not None and is_error(error):
            raise error_in_stream(chunk, self._secret)
        if chunk.get("usage") or self._choices.reason:
            self._count(usage_in(chunk))
        if "x_groq" in chunk:
            self._count(usage_in(chunk))
            self._read_extension(chunk["x_groq"])
        if self._model is None:
            self._model = label_of(chunk.get("model"), MAX_NAME_CHARS)

    def _count(self, usage: Usage | None) -> None:
        """The last that was told counts; nothing at the end does not undo what was told before."""
        if usage is not None and (self._usage is None or any(usage.as_dict().values())):
            self._usage = usage

    def _read_no_object(self, value: Any, events: list[ModelEvent]) -> None:
        if value == "[DONE]":
            self.over = True
        elif isinstance(value, str) and value.lstrip().startswith("{"):
            self._read_text(value, events)
        elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
            for inner in value:
                if isinstance(inner, dict):
                    self._read_value(inner, events)
        else:
            self._odd = True

    def _read_text(self, text: str, events: list[ModelEvent]) -> None:
        """JSON that was written as a text of JSON."""
        try:
            values = loose_values(text.encode("utf-8", "replace"))
        except NotJson:
            values = []
        self._odd = self._odd or not values
        for value in values:
            if isinstance(value, dict):
                self._read_value(value, events)

    def _read_side_frame(self, frame: dict[str, Any], events: list[ModelEvent]) -> None:
        """No choices: a wrapper of them, an Ollama's own chunk, an error, a complaint that may be one, or nothing that
        matters."""
        if (chunk := chunk_of_ollama(frame)) is not None:
            self._read_value(chunk, events)
            return
        for name in _WRAPPED_IN:
            if isinstance(wrapped := frame.get(name), dict) and (
                wrapped.get("choices") or is_error(wrapped.get("error"))
            ):
                self._read_value(wrapped, events)
                return
        kind = frame.get("object") or frame.get("type") or frame.get("event")
        status = error_status_of(frame)
        if kind == "error" or status is not None or frame.get("status") in _FAILED:
            raise error_in_stream(frame, self._secret)
        if (api := other_api_of(frame)) is not None:
            self._other_api = api
        elif any(is_error(frame.get(name)) for name in _COMPLAINTS):
            self._complaint = frame

    def _read_extension(self, extension: Any) -> None:
        if isinstance(extension, dict) and is_error(extension.get("error")):
            raise error_in_stream(extension, self._secret)


def _is_keepalive(text: str) -> bool:
    return len(text) < 200 and not text.lstrip().startswith("<")
