"""Whatever JSON stands in whatever field of a chunk: an answer, or a typed error, and what comes out is clean."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sluiceway_llm.calling.responses import ResponseReader
from sluiceway_llm.clean_text import MAX_COUNT, clean_value, cleaned
from sluiceway_llm.error_words import told_of
from sluiceway_llm.model_errors import ModelError, error_in_stream, error_of_status
from sluiceway_llm.model_events import Finished, ModelEvent, ReasoningDelta, RefusalDelta, TextDelta, ToolCallDelta
from sluiceway_llm.reading.chunks import ChunkReader
from sluiceway_llm.reading.sse_lines import SseDecoder
from sluiceway_llm.reading.think_tags import ThinkSplitter, without_thoughts
from sluiceway_llm.reading.tool_calls import CallAssembler

pytestmark = pytest.mark.requirement("CH-25")

anything = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(st.characters(), max_size=8),
        st.sampled_from(
            ["stop", "error", "text", "note", '{"a":1}', "{", "null", "\ud83d", "\ude00", "a\0b", "<think>"]
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["message", "code", "type", "text", "id", "index", "function", "name", "error", "x"]),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=8,
)


def fields(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, anything))


some_calls = st.lists(
    st.one_of(
        anything,
        st.fixed_dictionaries(
            {},
            optional={
                "index": anything,
                "id": anything,
                "function": st.one_of(fields("name", "arguments", "more"), anything),
                "extra_content": anything,
            },
        ),
    ),
    max_size=3,
)
deltas = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(
            ("role", "content", "refusal", "reasoning", "reasoning_content", "reasoning_details", "function_call", "x"),
            anything,
        ),
        "tool_calls": st.one_of(anything, some_calls),
    },
)
choices = st.fixed_dictionaries(
    {},
    optional={
        "delta": st.one_of(anything, deltas),
        "message": st.one_of(anything, deltas),
        **dict.fromkeys(("index", "finish_reason", "error", "usage", "logprobs", "text"), anything),
    },
)
chunks = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.one_of(anything, st.lists(choices, max_size=2), choices),
        **dict.fromkeys(
            ("error", "usage", "model", "id", "object", "x_groq", "detail", "message", "base_resp", "status", "code"),
            anything,
        ),
    },
)


def is_clean(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def check(events: list[ModelEvent]) -> None:
    known: set[int] = set()
    for event in events:
        match event:
            case TextDelta(text) | ReasoningDelta(text) | RefusalDelta(text):
                assert text
                assert is_clean(text)
            case ToolCallDelta(index, call_id, name, arguments):
                assert is_clean(arguments)
                assert all(label is None or (is_clean(label) and 0 < len(label) <= 256) for label in (call_id, name))
                assert index not in known or (call_id is None and name is None), "id and name come once"
                known.add(index)
            case Finished(reason, usage, model, provided):
                assert reason in (None, "stop", "length", "tool_calls", "content_filter")
                assert usage is None or all(0 <= count <= MAX_COUNT for count in usage.as_dict().values())
                assert model is None or is_clean(model)
                if provided is not None:
                    json.dumps([dict(provided.fields), *map(dict, provided.calls)], allow_nan=False).encode()
                    assert len(provided.calls) == len(known)


def read(reader: ChunkReader | ResponseReader, frames: list[bytes]) -> None:
    events: list[ModelEvent] = []
    try:
        for frame in frames:
            reader.read(frame, events)
        reader.let_go(events)
        events.append(reader.finished())
    except ModelError as error:
        reader.let_go(events)
        message = error.user_message
    else:
        message = ""
    assert is_clean(message)
    assert len(message) < 600
    check(events)


@settings(deadline=None, max_examples=200)
@given(told=st.lists(st.one_of(chunks, anything), max_size=5), done=st.booleans())
def test_any_json_in_any_field_is_an_answer_or_a_typed_error(told: list[Any], done: bool) -> None:
    frames = [json.dumps(chunk).encode() for chunk in told] + [b"[DONE]"] * done
    read(ChunkReader("sk-secret", tool_names=["note"]), frames)


@settings(deadline=None)
@given(told=st.one_of(chunks, anything), data=st.binary(max_size=20))
def test_any_body_outside_of_events_is_an_answer_or_a_typed_error(told: Any, data: bytes) -> None:
    for body in (json.dumps(told).encode(), json.dumps(told, indent=1).encode() + data, data):
        reader, events = ChunkReader(""), list[ModelEvent]()
        try:
            reader.read_body(body, events)
            reader.let_go(events)
            events.append(reader.finished())
        except ModelError:
            pass
        check(events)


responses = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            [
                "response.created",
                "response.output_text.delta",
                "response.refusal.delta",
                "response.reasoning_text.delta",
                "response.reasoning_summary_part.added",
                "response.output_item.added",
                "response.function_call_arguments.delta",
                "response.completed",
                "response.incomplete",
                "response.failed",
                "error",
            ]
        )
    },
    optional={
        **dict.fromkeys(("delta", "sequence_number", "output_index", "summary_index", "error"), anything),
        "item": st.one_of(
            anything,
            st.fixed_dictionaries(
                {"type": st.just("function_call")},
                optional={"call_id": anything, "name": anything, "arguments": anything},
            ),
        ),
        "response": st.one_of(anything, fields("id", "status", "error", "usage", "model", "incomplete_details")),
    },
)


@settings(deadline=None, max_examples=150)
@given(told=st.lists(st.one_of(responses, anything), max_size=6))
def test_any_json_in_any_event_of_a_response_is_an_answer_or_a_typed_error(told: list[Any]) -> None:
    read(ResponseReader("sk-secret"), [json.dumps(event).encode() for event in told])


@settings(deadline=None)
@given(data=st.lists(st.binary(max_size=30), max_size=4))
def test_bytes_of_any_kind_are_an_answer_or_a_typed_error(data: list[bytes]) -> None:
    decoder = SseDecoder()
    frames = [frame for piece in data for frame in decoder.feed(piece)]
    read(ChunkReader(""), [*data, *frames, decoder.left])


@settings(deadline=None)
@given(body=anything, status=st.sampled_from([400, 401, 402, 403, 404, 413, 422, 429, 500, 503]))
def test_any_body_of_an_error_gives_a_typed_error(body: Any, status: int) -> None:
    for error in (error_of_status(status, body, "sk-secret"), error_in_stream(body, "sk-secret")):
        assert is_clean(error.user_message)
    assert len(told_of(body).words) <= 4000


@settings(deadline=None)
@given(text=st.text(st.characters(), max_size=20), value=anything)
def test_what_is_clean_stays_as_it_is(text: str, value: Any) -> None:
    assert is_clean(cleaned(text))
    assert cleaned(cleaned(text)) == cleaned(text)
    json.dumps(clean_value(value), allow_nan=False).encode()


# Splitting

_said = st.sampled_from(["<think>", "</think>", "<thinking>", "</thinking>", " ", "\n", "a", "<", "b < c", "</", ">"])


@settings(deadline=None)
@given(pieces=st.lists(_said, max_size=8), cuts=st.sets(st.integers(0, 40)))
def test_thoughts_are_told_apart_in_the_same_way_however_the_text_is_torn(pieces: list[str], cuts: set[int]) -> None:
    text = "".join(pieces)
    bounds = [0, *sorted(cut for cut in cuts if 0 < cut < len(text)), len(text)]
    torn = split([text[start:end] for start, end in itertools.pairwise(bounds)])
    whole = split([text])
    assert torn == whole
    assert whole[0] == without_thoughts(text) or not without_thoughts(text).strip()


def split(pieces: list[str]) -> tuple[str, str]:
    splitter = ThinkSplitter()
    said = [part for piece in pieces for part in splitter.feed(piece)] + splitter.rest()
    return tuple("".join(text for kind, text in said if kind == which) for which in ("text", "reasoning"))  # type: ignore[return-value]


_values = st.recursive(
    st.one_of(st.integers(-9, 9), st.text('a{}[]"\\:,é😀\n', max_size=6), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text("ab", max_size=2), inner, max_size=2)),
    max_leaves=6,
)


@settings(deadline=None)
@given(
    arguments=st.lists(st.dictionaries(st.text("ab{", max_size=2), _values, max_size=3), min_size=1, max_size=3),
    width=st.integers(1, 12),
    with_ids=st.booleans(),
    with_index=st.booleans(),
    name_again=st.booleans(),
    as_ascii=st.booleans(),
)
def test_calls_in_pieces_of_any_width_are_put_together_and_kept_apart(
    arguments: list[dict[str, Any]], width: int, with_ids: bool, with_index: bool, name_again: bool, as_ascii: bool
) -> None:
    """At one index, one behind the other, as Gemini and Ollama send them."""
    assembler, events = CallAssembler(["note"]), list[ModelEvent]()
    for number, value in enumerate(arguments):
        text = json.dumps(value, ensure_ascii=as_ascii)
        for start in range(0, len(text), width):
            piece: dict[str, Any] = {"function": {"arguments": text[start : start + width]}}
            if with_index:
                piece["index"] = 0
            if start == 0 or name_again:
                piece["function"]["name"] = "note"
            if with_ids:
                piece["id"] = f"c{number}"
            assembler.read(piece, events)
    assembler.close(events)
    told: dict[int, str] = {}
    for event in events:
        assert isinstance(event, ToolCallDelta)
        told[event.index] = told.get(event.index, "") + event.arguments
    assert [json.loads(text) for _, text in sorted(told.items())] == arguments
    assert not assembler.broken
