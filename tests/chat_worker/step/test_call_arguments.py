"""Arguments of calls as models write them that are not careful with JSON."""

import pytest
from chat_worker.calls import AskedCall, to_operation
from sluiceway.wire.tools import ToolSpec

NOTE = ToolSpec(name="note", description="", parameters={"type": "object"})


def arguments_of(text: str) -> object:
    operation, _ = to_operation(AskedCall("c", "note", [text]), 0, {"note": NOTE})
    return operation.input if operation.error is None else operation.error["type"]


@pytest.mark.requirement("CH-25")
@pytest.mark.parametrize(
    "text",
    [
        '{"text": "one"}',
        '"{\\"text\\": \\"one\\"}"',
        '```json\n{"text": "one"}\n```',
        '```\n{"text": "one"}\n```',
        '{"text": "one",}',
        "{'text': 'one'}",
        '\n {"text": "one"}\n',
    ],
)
def test_an_object_is_read_however_it_is_wrapped(text: str) -> None:
    assert arguments_of(text) == {"text": "one"}


@pytest.mark.requirement("CH-25")
@pytest.mark.parametrize(
    ("text", "read"),
    [
        ('{"text": "a\nb\tc"}', {"text": "a\nb\tc"}),
        ('{"text": "it\\\'s, ]"}', {"text": "it's, ]"}),
        ('{"a": [1, 2,], "b": "x,}",}', {"a": [1, 2], "b": "x,}"}),
        ("", {}),
        (" null ", {}),
        ("{}", {}),
    ],
)
def test_what_is_nearly_json_keeps_its_values(text: str, read: object) -> None:
    assert arguments_of(text) == read


@pytest.mark.requirement("CH-8")
@pytest.mark.parametrize("text", ['{"text": "a very lo', "[1]", "7", "note it", '"note"', "{'text': open('x')}"])
def test_what_is_no_whole_object_goes_back_to_the_model(text: str) -> None:
    assert arguments_of(text) == "INVALID_ARGUMENTS"
