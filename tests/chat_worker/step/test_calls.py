"""The model's tool calls: whatever it sends becomes an operation, or an error that goes back to it."""

from typing import Any

import pytest
from chat_worker.calls import AskedCall, CallReader, check_arguments, to_operation
from sluiceway.wire.events import (
    ToolApprovalRequest,
    ToolInputAvailable,
    ToolInputDelta,
    ToolInputError,
    ToolInputStart,
)
from sluiceway.wire.tools import ToolSpec
from sluiceway_llm.clean_text import cleaned
from sluiceway_llm.model_events import ToolCallDelta

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def tool(name: str = "weather", **fields: Any) -> ToolSpec:
    return ToolSpec(name=name, description="The weather.", parameters=CITY, **fields)


OFFERED = {"weather": tool(), "pay": tool("pay", approval=True, queue="slow", deadline_seconds=9, title="Pay")}


def delta(index: int, call_id: str | None, name: str | None, arguments: str) -> ToolCallDelta:
    """As the model's client gives it: clean."""
    return ToolCallDelta(
        index,
        None if call_id is None else cleaned(call_id),
        None if name is None else cleaned(name),
        cleaned(arguments),
    )


def call(arguments: str, name: str = "weather") -> AskedCall:
    return AskedCall("call_1", name, [arguments])


@pytest.mark.requirement("CH-9")
def test_fragments_of_parallel_calls_are_put_together_in_whatever_order_they_come() -> None:
    reader = CallReader(())
    shown = [
        event
        for said in (
            delta(1, "call_b", "time", ""),
            delta(0, "call_a", "weather", '{"ci'),
            delta(1, None, None, "{}"),
            delta(0, None, None, 'ty": "Köln"}'),
        )
        for event in reader.read(said)
    ]

    assert [(one.call_id, one.tool_name, one.arguments) for one in reader.calls] == [
        ("call_a", "weather", '{"city": "Köln"}'),
        ("call_b", "time", "{}"),
    ]
    assert shown == [
        ToolInputStart(tool_call_id="call_b", tool_name="time"),
        ToolInputStart(tool_call_id="call_a", tool_name="weather"),
        ToolInputDelta(tool_call_id="call_a", input_text_delta='{"ci'),
        ToolInputDelta(tool_call_id="call_b", input_text_delta="{}"),
        ToolInputDelta(tool_call_id="call_a", input_text_delta='ty": "Köln"}'),
    ]


def test_arguments_that_come_before_the_name_are_shown_with_it() -> None:
    reader = CallReader(())

    assert reader.read(delta(0, "call_a", None, '{"a"')) == []
    assert reader.read(delta(0, None, "weather", ": 1}")) == [
        ToolInputStart(tool_call_id="call_a", tool_name="weather"),
        ToolInputDelta(tool_call_id="call_a", input_text_delta='{"a": 1}'),
    ]


@pytest.mark.parametrize("told", [None, "", "call_0", "a id with blanks", "x" * 300, "taken"])
def test_ids_are_unique_within_a_message_whatever_the_server_counts_from(told: str | None) -> None:
    reader = CallReader({"call_0", "taken"})
    reader.read(delta(0, told, "weather", ""))
    reader.read(delta(1, told, "weather", ""))

    ids = [one.call_id for one in reader.calls]
    assert len(set(ids)) == 2
    assert not set(ids) & {"call_0", "taken", "", "a id with blanks"}


def test_an_id_of_the_servers_that_is_free_is_kept() -> None:
    reader = CallReader({"call_0"})
    reader.read(delta(0, "call_1", "weather", ""))

    assert [one.call_id for one in reader.calls] == ["call_1"]


@pytest.mark.requirement("CH-9")
def test_a_call_that_can_be_run_becomes_an_operation_of_its_tools_queue() -> None:
    operation, shown = to_operation(call('{"city": "Köln"}'), 2, OFFERED)

    assert (operation.status, operation.queue, operation.step, operation.tool_call_id) == (
        "pending",
        "default",
        2,
        "call_1",
    )
    assert operation.input == {"city": "Köln"}
    assert shown == [ToolInputAvailable(tool_call_id="call_1", tool_name="weather", input={"city": "Köln"})]


@pytest.mark.requirement("CH-19")
def test_a_call_of_a_tool_that_never_blocks_says_so_but_not_one_that_the_client_runs() -> None:
    spec = OFFERED["weather"].model_copy(update={"background": True})
    by_client = spec.model_copy(update={"by_client": True})
    asked = call('{"city": "Köln"}')
    made = [to_operation(asked, 1, {"weather": one})[0] for one in (spec, by_client, OFFERED["weather"])]
    assert [operation.background for operation in made] == [True, False, False]
    assert [operation.blocks for operation in made] == [False, False, True]
    assert not to_operation(asked, 1, {"weather": spec}, too_many=True)[0].background


@pytest.mark.requirement("CH-9")
def test_a_call_that_a_person_must_allow_waits_and_asks() -> None:
    operation, shown = to_operation(call('{"city": "Köln"}', "pay"), 1, OFFERED)

    assert (operation.status, operation.queue, operation.deadline_seconds) == ("approval", "slow", 9)
    assert operation.approval_id is not None
    assert shown[1:] == [ToolApprovalRequest(approval_id=operation.approval_id, tool_call_id="call_1")]


@pytest.mark.requirement("CH-9")
@pytest.mark.parametrize(
    ("arguments", "name", "code"),
    [
        ('{"city": "Kö', "weather", "INVALID_ARGUMENTS"),
        ("[1]", "weather", "INVALID_ARGUMENTS"),
        ("[" * 100_000, "weather", "INVALID_ARGUMENTS"),
        ("{}", "weather", "INVALID_ARGUMENTS"),
        ('{"city": 7}', "weather", "INVALID_ARGUMENTS"),
        ("{}", "wether", "UNKNOWN_TOOL"),
        ("", "", "UNKNOWN_TOOL"),
    ],
)
def test_a_call_that_cannot_be_run_has_failed_and_says_why(arguments: str, name: str, code: str) -> None:
    operation, (shown,) = to_operation(call(arguments, name), 1, OFFERED)

    assert operation.status == "failed"
    assert operation.error is not None
    assert operation.error["type"] == code
    assert isinstance(shown, ToolInputError)
    assert shown.error_text.startswith(f"{code}: ")
    assert len(shown.encode()) < 5_000


@pytest.mark.requirement("CH-24")
def test_arguments_of_very_many_small_values_are_refused_before_they_are_read() -> None:
    listed = '{"text": [%s]}' % ", ".join(["{}"] * 6000)  # noqa: UP031 - braces
    operation, _ = to_operation(call(listed), 0, {"weather": tool()})
    assert operation.status == "failed"
    assert operation.error is not None
    assert operation.error["type"] == "INVALID_ARGUMENTS"
    assert "more than 5000" in operation.error["message"]


def test_a_call_beyond_the_most_of_a_step_fails_though_it_could_be_run() -> None:
    operation, _ = to_operation(call('{"city": "Köln"}'), 1, OFFERED, too_many=True)

    assert operation.error is not None
    assert operation.error["type"] == "TOO_MANY_CALLS"


def test_a_schema_that_is_none_is_left_to_the_runner() -> None:
    broken = ToolSpec(name="odd", description="Odd.", parameters={"type": "no such type"})

    assert check_arguments(broken, {"anything": 1}) is None


def test_the_place_of_a_wrong_argument_is_named() -> None:
    deep = {"type": "object", "properties": {"to": {"type": "object", "properties": {"city": {"type": "string"}}}}}
    problem = check_arguments(ToolSpec(name="go", description="Go.", parameters=deep), {"to": {"city": 1}})

    assert problem is not None
    assert problem.message == "to.city: 1 is not of type 'string'"
