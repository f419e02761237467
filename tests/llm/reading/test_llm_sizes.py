"""Whatever the size of what a model server sends: nobody else waits for its reading, and what is kept has a bound."""

import asyncio
import itertools
import json
import time
import tracemalloc

import pytest
from sluiceway_llm.asking.dialects import DIALECTS
from sluiceway_llm.asking.lessons import Lessons
from sluiceway_llm.calling import pace, whole_bodies
from sluiceway_llm.calling.answer_stream import _read
from sluiceway_llm.clean_text import MAX_ID_CHARS, MAX_NAME_CHARS
from sluiceway_llm.error_words import MAX_WORDS_CHARS, Told
from sluiceway_llm.model_errors import ModelError
from sluiceway_llm.model_events import ModelEvent, ToolCallDelta, Usage
from sluiceway_llm.reading.chunks import ChunkReader
from sluiceway_llm.reading.loose_json import object_in
from sluiceway_llm.reading.provided_fields import MAX_CHARS, ProvidedFields
from sluiceway_llm.reading.sse_lines import SseDecoder
from sluiceway_llm.reading.tool_calls import CallAssembler

from harness.model_server import ModelServer
from tests.llm.llm_client import adapter, ask, text_of

pytestmark = pytest.mark.requirement("CH-24")


async def test_a_large_and_odd_event_holds_up_no_other_turn_of_the_process(model: ModelServer) -> None:
    await model.script({"raw": "data: " + '{"a":1}' * 20_000 + "\n\n"}, {"text": "Hello"})
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.005)
            ticks += 1

    ticking = asyncio.create_task(tick())
    began = time.thread_time()
    assert text_of(await ask(model, "Hi")) == "Hello"
    ticking.cancel()
    assert time.thread_time() - began < 0.3, "half a second of reading, and not in the loop's thread"
    assert ticks > 10


@pytest.mark.parametrize("line", [b": nothing\n\n", b'data: {"choices":[{"index":0,"delta":{}}]}\n\n', b"\n"])
async def test_many_events_that_say_nothing_are_read_in_slices(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "SLICE_SECONDS", 0.0005)
    turns_of_others = 0

    async def others() -> None:
        nonlocal turns_of_others
        while True:
            await asyncio.sleep(0)
            turns_of_others += 1

    other = asyncio.create_task(others())
    reader, end = ChunkReader(""), b'data: {"choices":[{"index":0,"delta":{"content":"end"}}]}\n\n'
    events, broken = await _read(line * (400_000 // len(line)) + end, SseDecoder(), reader, pace.Pace())
    other.cancel()
    assert (text_of(events), broken) == ("end", None)
    assert turns_of_others >= 10


def test_who_waits_longer_than_he_reads_is_never_slowed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(step=0.003)
    monkeypatch.setattr(pace, "perf_counter", lambda: next(clock))
    model = pace.Pace()
    for _ in range(900):
        model.waits()
        model.reads()
        assert not model.kept_too_long()


@pytest.mark.parametrize("packed", [False, True])
async def test_of_an_errors_body_only_the_beginning_is_read(
    model: ModelServer, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    monkeypatch.setattr(whole_bodies, "_MAX_COMPRESSED_BYTES" if packed else "MAX_ERROR_BYTES", 100)
    headers = {"content-encoding": "br, unknown"} if packed else {}
    await model.script({"status": 400, "body": "No. " * 1_000_000, "content_type": "text/plain", "headers": headers})
    with pytest.raises(ModelError) as raised:
        await ask(model, "Hi")
    assert raised.value.told.message == ("No. " * 25).strip()


async def test_a_list_of_models_without_end_tells_nothing(model: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with adapter(model) as llm:
        assert await llm.windows() == {}
        monkeypatch.setattr(whole_bodies, "MAX_TOLD_BYTES", 10)
        assert await llm.windows() == {}


def test_what_a_server_gives_along_is_given_up_once_it_is_too_much() -> None:
    fields, calls, events = ProvidedFields(), CallAssembler(["note"]), list[ModelEvent]()
    began = time.process_time()
    for n in range(20_000):
        fields.take("extra_content", {f"k{n}": "x" * 1000})
        calls.read({"index": 0, "id": "a", "extra": {f"k{n}": "x" * 1000}, "function": {"name": "note"}}, events)
    assert time.process_time() - began < 5, "each is taken once; putting them together anew took 18 s"
    assert fields.cleaned() == {}
    assert len(json.dumps(calls.extras)) < 20 * MAX_CHARS


def test_of_calls_without_end_a_few_hundred_are_told_and_of_their_names_and_ids_the_beginning() -> None:
    calls, events, long = CallAssembler(["note"]), list[ModelEvent](), "n" * 10_000
    for n in range(2000):
        calls.read({"index": n, "id": f"{n}{long}", "function": {"name": long, "arguments": "{}"}}, events)
    calls.close(events)
    told = [event for event in events if isinstance(event, ToolCallDelta)]
    assert 100 < len({one.index for one in told}) < 500
    assert all(len(one.name or "") <= MAX_NAME_CHARS and len(one.id or "") <= MAX_ID_CHARS for one in told)


def test_a_count_of_any_length_costs_no_answer() -> None:
    reader, events = ChunkReader("sk-secret"), list[ModelEvent]()
    end = '{"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":DIGITS,"completion_tokens":3}}'
    reader.read(b'{"choices":[{"delta":{"content":"Hello"}}]}', events)
    reader.read(end.replace("DIGITS", "1" * 5000).encode(), events)
    assert text_of(events) == "Hello"
    assert reader.finished().usage == Usage(output_tokens=3)


TAIL = "<|im_end|>"
REPEATED = {
    "tokens of an end": f"{TAIL * 60_000}x",
    "tokens of an end, and blanks": (TAIL + " " * 1000) * 600 + "x",
    "what begins as they do": "</s" * 60_000,
    "tokens of a beginning": "<|assistant|>" * 60_000,
    "thoughts": "<think>a</think>" * 60_000,
    "a line of blanks": "x\n" + " " * 300_000,
    "lines that begin as the end of thoughts": "x" + "\n </think" * 40_000,
    "marks in quotes": "`<tool_call>" * 60_000,
    "ends of calls": "</tool_call>" * 60_000,
    "channels without their marks": "analysisHm. " + "assistantanalysis to=" * 50_000,
}


@pytest.mark.parametrize("text", REPEATED.values(), ids=REPEATED.keys())
@pytest.mark.parametrize("piece_chars", [1_000_000, 500])
def test_a_text_that_repeats_itself_is_read_in_a_time_that_grows_with_its_length(text: str, piece_chars: int) -> None:
    reader, events = ChunkReader("", tool_names=["note"]), list[ModelEvent]()
    began = time.thread_time()
    for begin in range(0, len(text), piece_chars):
        piece = {"choices": [{"index": 0, "delta": {"content": text[begin : begin + piece_chars]}}]}
        reader.read(json.dumps(piece).encode(), events)
    reader.let_go(events)
    assert time.thread_time() - began < 4, "looked at again and again it took from ten seconds to an hour"


@pytest.mark.parametrize("word", ["toolsmax", "alternat", "0stream", "exceed", "support", "loadcorrupt"])
def test_words_of_a_refusal_that_repeat_themselves_are_read_in_a_time_that_grows_with_their_length(word: str) -> None:
    roles: list[dict[str, object]] = [{"role": "tool", "content": "a"}, {"role": "user", "content": "b"}]
    sent = {"stream": True, "tools": [{}] * 3, "messages": roles}
    words = (word * 4000)[:MAX_WORDS_CHARS]
    began = time.thread_time()
    for asked in (sent, sent | {"tools": []}):
        Lessons().learn(Told(message=words), 400, asked, DIALECTS["generic"])
    assert time.thread_time() - began < 2, "the first held a worker for a minute"


@pytest.mark.parametrize(
    "text", ['{"a' + '\\"' * 400_000, '{"a": "' + '\\"' * 400_000 + "}", '{"a": 1' + "," * 400_000]
)
def test_arguments_that_are_no_json_are_read_in_a_time_that_grows_with_their_length(text: str) -> None:
    began = time.thread_time()
    assert object_in(text) is None
    assert time.thread_time() - began < 4


@pytest.mark.parametrize(
    "text", ['{"a": "' + "x" * 1_000_000, '{"a": "' + "\\q" * 500_000, '{"a": 1}' + " " * 1_000_000]
)
def test_arguments_that_are_cut_cost_what_they_are_and_not_a_hundred_times_as_much(text: str) -> None:
    tracemalloc.start()
    try:
        object_in(text)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 16 * len(text), "where a pattern may go back, each character is remembered"
