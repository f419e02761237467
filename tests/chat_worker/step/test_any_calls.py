"""Whatever a model calls, in whatever pieces: a call is an operation that can be stored, or an error that goes back."""

import json
from typing import Any

import pytest
from chat_worker.calls import CallReader, to_operation
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sluiceway.wire.events import decode
from sluiceway.wire.json_values import clean_json, encode_json
from sluiceway.wire.tools import ToolSpec
from sluiceway_llm.clean_text import cleaned
from sluiceway_llm.model_events import ToolCallDelta

from tests.any_json import ANY_JSON, ANY_TEXT, nested

OFFERED = {
    name: ToolSpec(
        name=name,
        description=name,
        parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        approval=name == "pay",
        queue="default",
    )
    for name in ("weather", "pay")
}
_JSON_TEXT = ANY_JSON.map(lambda value: json.dumps(value)) | st.just(json.dumps(nested(900)))
_ARGUMENTS = _JSON_TEXT | ANY_TEXT | ANY_TEXT.map(lambda text: json.dumps({"city": text}))
_DELTAS = st.tuples(
    st.integers(-1, 3), st.none() | ANY_TEXT, st.none() | ANY_TEXT | st.sampled_from([*OFFERED]), _ARGUMENTS
)


@pytest.mark.requirement("CH-24", "CH-9")
@settings(max_examples=300, deadline=None)
@given(deltas=st.lists(_DELTAS, min_size=1, max_size=6), cut=st.booleans())
@example([(0, "a", "weather", '{"city": "' + "x" * 100_000 + '"}')], False)
@example([(0, "a", "weather", "[" * 100_000)], False)
@example([(0, "a", "weather", '{"city": ' + "9" * 10_000 + "}")], False)
def test_any_calls_become_operations_and_events_that_everybody_takes(deltas: list[Any], cut: bool) -> None:
    reader = CallReader(())
    shown = [
        event
        for index, call_id, name, arguments in deltas
        for event in reader.read(
            ToolCallDelta(
                index,
                None if call_id is None else cleaned(call_id),
                None if name is None else cleaned(name),
                cleaned(arguments),
            )
        )
    ]
    for place, call in enumerate(reader.calls):
        operation, more = to_operation(call, 1, OFFERED, too_many=place > 2, cut=cut)
        shown += more
        assert operation.status in ("pending", "approval", "failed")
        if operation.status != "failed":
            assert operation.tool_name in OFFERED
            assert not cut
        for stored in (operation.input, operation.tool_name, operation.tool_call_id):
            assert clean_json(stored) == stored
            encode_json(stored)
    assert len({call.call_id for call in reader.calls}) == len(reader.calls)
    for event in shown:
        assert decode(event.type, event.encode()).encode() == event.encode()
