"""What the model is sent of a stored conversation."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from chat_worker.context.exchanges import exchanges_of, shortened
from chat_worker.prompt.prompt import to_model_messages
from sluiceway.store.records import Message
from sluiceway.wire.message import Part
from sluiceway.wire.results import results_part

STEP: Part = {"type": "step-start"}


def said(role: str, *parts: Part) -> Message:
    return Message("m", role, list(parts), 1, None, datetime.now(UTC))


def text(words: str) -> Part:
    return {"type": "text", "text": words, "state": "done"}


def called(call_id: str, state: str, **fields: Any) -> Part:
    return {"type": "tool-weather", "toolCallId": call_id, "state": state, "input": {"city": "Köln"}, **fields}


def test_the_conversation_is_sent_in_its_order_behind_the_system_prompt() -> None:
    history = [said("user", text("one")), said("assistant", STEP, text("two")), said("user", text("three"))]

    assert to_model_messages("Be brief.", history) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
    ]
    assert to_model_messages("", []) == []


def test_reasoning_data_and_answers_without_text_are_not_sent() -> None:
    thought: Part = {"type": "reasoning", "text": "hm", "state": "done"}
    data: Part = {"type": "data-error", "data": {"code": "X"}}

    assert to_model_messages("", [said("assistant", STEP, thought, data), said("user", data)]) == []


@pytest.mark.requirement("CH-9")
@pytest.mark.parametrize(
    ("part", "result"),
    [
        (called("c", "output-available", output="sunny"), "sunny"),
        (called("c", "output-available", output={"t": "größer"}), '{"t": "größer"}'),
        (called("c", "output-error", errorText="TIMEOUT: too slow"), "Error: TIMEOUT: too slow"),
        (called("c", "output-denied"), "The user did not allow this call."),
        (
            called("c", "output-denied", approval={"id": "a", "reason": "too dear"}),
            "The user did not allow this call. Their reason: too dear",
        ),
        (called("c", "output-available", output=50, preliminary=True), "Error: This call was not run."),
        (called("c", "input-available"), "Error: This call was not run."),
        (called("c", "approval-requested"), "Error: This call was not run."),
    ],
)
def test_every_call_has_a_result_whatever_became_of_it(part: Part, result: str) -> None:
    """A call without one makes servers refuse this and every later request of the conversation."""
    asked, told = to_model_messages("", [], [STEP, part])

    (call,) = asked["tool_calls"]
    assert (asked["role"], asked["content"], call["id"]) == ("assistant", None, "c")
    assert call["function"] == {"name": "weather", "arguments": '{"city": "Köln"}'}
    assert told == {"role": "tool", "tool_call_id": "c", "content": result}


def test_each_step_is_a_message_of_its_own_with_the_results_of_its_calls_behind_it() -> None:
    parts = [
        STEP,
        text("Let me look."),
        called("a", "output-available", output=1),
        called("b", "output-available", output=2),
        STEP,
        text("Done."),
    ]

    messages = to_model_messages("", [], parts)

    assert [message["role"] for message in messages] == ["assistant", "tool", "tool", "assistant"]
    assert messages[0]["content"] == "Let me look."
    assert [message.get("tool_call_id") for message in messages[1:3]] == ["a", "b"]
    assert messages[3] == {"role": "assistant", "content": "Done."}


@pytest.mark.requirement("CH-19")
def test_a_call_that_ran_on_is_told_as_running_and_its_result_where_it_came() -> None:
    """What was sent before stays as it was, for the server's cache. On a branch without the results they are told."""
    running, ended = called("c", "input-available"), called("c", "output-available", output={"t": 9})
    brought = said("user", results_part("task_1", [ended]))
    for call, later in (
        (running, [said("user", text("meanwhile"))]),
        (ended, [said("user", text("meanwhile")), brought]),
    ):
        answer = replace(said("assistant", STEP, call), metadata={"background": ["c"]})
        exchanges = exchanges_of([said("user", text("go")), answer, *later])
        told = [message for one in exchanges for message in one.messages]
        assert told[2]["content"].startswith("It was started, and still runs.")
        assert [message["role"] for message in told] == ["user", "assistant", "tool", *("user" for _ in later)]
    assert told[-1]["content"].endswith('weather (c):\n{"t": 9}')
    (_, _, alone) = to_model_messages("", [said("user", text("go")), answer])
    assert alone["content"] == '{"t": 9}'
    failed = said("user", results_part("task_1", [called("c", "output-error", errorText="TIMEOUT: slow")]))
    assert to_model_messages("", [failed])[0]["content"].endswith("weather (c):\nError: TIMEOUT: slow")
    long = said("user", results_part("task_1", [called("c", "output-available", output="x" * 9_000)]))
    (short,) = shortened(to_model_messages("", [long]), 400)
    assert len(short["content"]) < 500, "as any other result"
