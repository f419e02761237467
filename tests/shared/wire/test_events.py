"""The events: what is stored reads back, what browsers refuse is never stored, and what is unknown passes through."""

import json
import re
from pathlib import Path

import pytest
from pydantic import ValidationError
from sluiceway.wire.events import (
    KNOWN_TYPES,
    Data,
    Event,
    Finish,
    Start,
    TextDelta,
    ToolInputAvailable,
    ToolOutputAvailable,
    UnknownEvent,
    decode,
)

# Samples of what earlier versions stored. They are only ever added to: each must go on to read back.
STORED = [
    b'{"type":"start","messageId":"msg_1"}',
    b'{"type":"start-step"}',
    b'{"type":"finish-step"}',
    b'{"type":"reset-step"}',
    b'{"type":"text-start","id":"0"}',
    '{"type":"text-delta","id":"0","delta":"Größe 🙂 \\"x\\""}'.encode(),
    b'{"type":"text-end","id":"0"}',
    b'{"type":"reasoning-start","id":"1"}',
    b'{"type":"reasoning-delta","id":"1","delta":"hm"}',
    b'{"type":"reasoning-end","id":"1"}',
    b'{"type":"tool-input-start","toolCallId":"c","toolName":"n"}',
    b'{"type":"tool-input-delta","toolCallId":"c","inputTextDelta":"{"}',
    b'{"type":"tool-input-available","toolCallId":"c","toolName":"n","input":{"a":[1,null]}}',
    b'{"type":"tool-input-error","toolCallId":"c","toolName":"n","input":"{","errorText":"not JSON"}',
    b'{"type":"tool-approval-request","approvalId":"a","toolCallId":"c"}',
    b'{"type":"tool-output-available","toolCallId":"c","output":1,"preliminary":true}',
    b'{"type":"tool-output-error","toolCallId":"c","errorText":"no"}',
    b'{"type":"tool-output-denied","toolCallId":"c"}',
    b'{"type":"source-url","sourceId":"s","url":"https://example.org"}',
    b'{"type":"source-document","sourceId":"s","mediaType":"text/plain","title":"t"}',
    b'{"type":"file","url":"https://example.org/a.png","mediaType":"image/png"}',
    b'{"type":"data-error","data":{"code":"X","message":"m"}}',
    b'{"type":"message-metadata","messageMetadata":{"a":1}}',
    b'{"type":"finish","finishReason":"stop","messageMetadata":{"usage":{"totalTokens":3}}}',
    b'{"type":"abort"}',
    b'{"type":"error","errorText":"e"}',
]


@pytest.mark.requirement("TS-8")
@pytest.mark.parametrize("raw", STORED, ids=lambda raw: json.loads(raw)["type"])
def test_a_stored_event_reads_back_as_its_model_and_encodes_to_the_same_bytes(raw: bytes) -> None:
    event = decode(json.loads(raw)["type"], raw)

    assert isinstance(event, Event)
    assert type(event) is not Event
    assert event.encode() == raw


@pytest.mark.requirement("TS-8")
def test_there_is_a_stored_sample_of_every_type() -> None:
    sampled = {json.loads(raw)["type"] for raw in STORED}
    assert sampled - {"data-error"} == KNOWN_TYPES


@pytest.mark.requirement("TS-8")
def test_the_page_takes_every_type() -> None:
    """It leaves out what it does not know, without a word: the SDK would end the whole chat over it."""
    text = (Path(__file__).parents[3] / "web" / "src" / "client" / "chunks.ts").read_text()
    known = re.search(r"const KNOWN = new Set\(\[(.*?)\]\)", text, re.DOTALL)
    assert known is not None
    assert set(re.findall(r'"([\w-]+)"', known[1])) == KNOWN_TYPES


@pytest.mark.requirement("TS-8")
@pytest.mark.parametrize("raw", [b'{"type":"hologram","x":1}', b'{"type":"text-delta","id":1}', b"\xff", b"[]"])
def test_an_event_of_a_newer_producer_is_kept_byte_for_byte(raw: bytes) -> None:
    event = decode("text-delta" if b"delta" in raw else "hologram", raw)

    assert isinstance(event, UnknownEvent)
    assert event.encode() == raw


@pytest.mark.parametrize(
    "value", [float("nan"), [float("inf")], {"__proto__": {}}, {"a": [{"constructor": {"prototype": 1}}]}]
)
def test_what_every_client_refuses_cannot_become_an_event(value: object) -> None:
    with pytest.raises(ValidationError):
        ToolOutputAvailable(tool_call_id="c", output=value)
    with pytest.raises(ValidationError):
        ToolInputAvailable(tool_call_id="c", tool_name="n", input=value)
    with pytest.raises(ValidationError):
        Data(type="data-x", data=value)


def test_unknown_keys_and_wrong_names_cannot_become_an_event() -> None:
    with pytest.raises(ValidationError):
        Start(message_id="m", extra=1)  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        Data(type="info", data=1)


def test_what_is_none_is_absent_on_the_wire() -> None:
    assert Finish().encode() == b'{"type":"finish"}'
    assert TextDelta(id="0", delta="").encode() == b'{"type":"text-delta","id":"0","delta":""}'
