"""What tasks of MCP servers ask a person: which of it is an approval, and what the server is answered."""

from typing import Any

import pytest
from sluiceway.wire.elicitation import Elicitation, ElicitedField
from tool_runner.mcp.asking import Asking
from tool_runner.mcp.elicitations import NotAnswerable, answer_to, elicitation_of
from tool_runner.mcp.tasks import TaskState

pytestmark = pytest.mark.requirement("CH-10")

YES: dict[str, Any] = {"approved": True}


def asked(schema: Any = None, **params: Any) -> dict[str, Any]:
    return {"method": "elicitation/create", "params": {"message": "Well?", "requestedSchema": schema, **params}}


def form(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def of(schema: Any) -> Elicitation:
    return elicitation_of(asked(schema), "printer")


@pytest.mark.parametrize(
    ("schema", "content"),
    [
        (None, {}),
        ({}, {}),
        (form(), {}),
        (form(("sure",), sure={"type": "boolean"}), {"sure": True}),
        (form(sure={"type": "boolean", "default": False}), {"sure": True}),
        (form(("copies",), copies={"type": "integer", "default": 2}), {"copies": 2}),
        (form(why={"type": "string"}), {}),
        (
            form(a={"type": "boolean", "default": True}, b={"type": "boolean", "default": False}),
            {"a": True, "b": False},
        ),
    ],
)
def test_a_form_that_a_yes_answers_is_an_approval(schema: Any, content: dict[str, Any]) -> None:
    asks = of(schema)
    assert (asks.message, asks.source, asks.field) == ("Well?", "printer", None)
    assert answer_to(asks, YES) == {"action": "accept", "content": content}
    assert answer_to(asks, {"approved": False, "reason": "no"}) == {"action": "decline"}


@pytest.mark.parametrize(
    ("field", "said", "value"),
    [
        ({"type": "string", "title": "Which printer"}, " the blue one ", "the blue one"),
        ({"type": "string", "enum": ["blue", "red"]}, "red", "red"),
        ({"type": "string", "oneOf": [{"const": "b", "title": "Blue"}]}, "b", "b"),
        ({"type": "integer"}, "3", 3),
        ({"type": "number"}, "2.5", 2.5),
    ],
)
def test_the_reason_of_an_approval_is_the_one_value_that_is_missing(field: Any, said: str, value: Any) -> None:
    asks = of(form(("it", "sure"), it=field, sure={"type": "boolean"}))
    answer = answer_to(asks, {"approved": True, "reason": said})
    assert answer == {"action": "accept", "content": {"sure": True, "it": value}}


@pytest.mark.parametrize(
    ("field", "said", "why"),
    [
        (ElicitedField(name="it", title="Printer"), None, "Printer is needed."),
        (ElicitedField(name="it", title="Printer", options=("blue", "red")), "green", "Printer is one of: blue, red."),
        (ElicitedField(name="it", title="Copies", type="integer"), "two", "Copies is a number."),
        (ElicitedField(name="it", title="Share", type="number"), "inf", "Share is a number."),
    ],
)
def test_a_reason_that_is_no_value_is_asked_for_again(field: ElicitedField, said: str | None, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        answer_to(Elicitation(source="s", message="m", field=field), {"approved": True, "reason": said})


@pytest.mark.parametrize("said", [{"approved": "y"}, {"approved": 1}, {"approved": "true"}, {"approved": None}, {}])
def test_only_a_yes_is_one(said: dict[str, Any]) -> None:
    assert answer_to(of(form(("sure",), sure={"type": "boolean"})), said) == {"action": "decline"}


def test_a_page_is_shown_and_never_read() -> None:
    asks = elicitation_of(asked(mode="url", url="https://bank.example/sign"), "bank")
    assert asks.url == "https://bank.example/sign"
    assert answer_to(asks, YES) == {"action": "accept"}


@pytest.mark.parametrize(
    "request_",
    [
        None,
        {"method": "sampling/createMessage", "params": {"messages": []}},
        {"method": "roots/list"},
        asked(form(("a", "b"), a={"type": "string"}, b={"type": "string"})),
        asked(form(("a", "b"), a={"type": "boolean"}, b={"type": "boolean"})),
        asked(form(("a",), a={"type": "array", "items": {"type": "string"}})),
        asked(form(("a",), a={"type": "string", "enum": [1, 2]})),
        asked(form(("a",), a={"type": "string", "enum": ["o" * 1_000_000]})),
        asked(form(("n" * 1_000_000,), **{"n" * 1_000_000: {"type": "string"}})),
        asked(form(("a",), a={"type": "string", "default": "d" * 1_000_000})),
        asked({"type": "object", "properties": {"a": 7}}),
        asked({"type": "object", "required": [["a"]]}),
        asked(mode="url", url="javascript:alert(1)"),
        asked(mode="url", url="https://[half"),
    ],
)
def test_what_no_approval_answers_is_not_asked(request_: Any) -> None:
    with pytest.raises(NotAnswerable):
        elicitation_of(request_, "s")


def test_what_a_server_says_is_one_clean_line() -> None:
    assert elicitation_of(asked(message="Really\x00\n\ndelete \ud800?"), "s").message == "Really\ufffd delete \ufffd?"
    reordered = asked(message="\u202ea \u2066b\u2029c\u200b 👩\u200d🚒" + "x" * 10_000_000)
    assert elicitation_of(reordered, "s").message.startswith("a b c 👩\u200d🚒xx")


@pytest.mark.parametrize("key", ["k" * 1_000_000, "k\x00", "k\ud800"])
def test_a_question_whose_key_could_not_be_kept_is_not_asked(key: str) -> None:
    state = TaskState(status="input_required", input_requests={key: asked(message="Really?")})
    with pytest.raises(NotAnswerable):
        Asking("t").next(state, "op", "s")
