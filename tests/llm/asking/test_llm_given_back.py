"""What a server gave with an answer goes back to it, and to nobody else."""

from typing import Any

import pytest
from sluiceway_llm.asking.history import PROVIDER, Wants, fitted

from harness.model_server import ModelServer
from tests.llm.llm_client import adapter
from tests.llm.messages import GO, Messages, answer, calls, result, said, user

pytestmark = pytest.mark.requirement("CH-25")


def sent_back(message: dict[str, Any], **wants: Any) -> dict[str, Any]:
    ids = [call["id"] for call in message["tool_calls"]]
    return fitted([user("a"), message, *(result(one) for one in ids)], Wants(**wants))[1]


DETAILS = [{"type": "reasoning.encrypted", "data": "x"}, {"type": "reasoning.text", "text": "a", "signature": None}]
SIGNED = {"id": "own_1", "extra_content": {"google": {"thought_signature": "c2ln"}}}


def test_what_a_server_gave_goes_back_to_it_unchanged() -> None:
    given_by_it = calls(
        "c1", by="it", call=SIGNED, message={"reasoning_opaque": "o"}, field="reasoning_content", reasoning="Hm."
    )
    message = sent_back(given_by_it, by="it")
    assert (message["reasoning_content"], message["reasoning_opaque"]) == ("Hm.", "o")
    assert message["tool_calls"][0]["extra_content"] == SIGNED["extra_content"]
    assert message["tool_calls"][0]["id"] == "own_1"
    assert PROVIDER not in str(message)
    detailed = sent_back(calls("c1", by="it", message={"reasoning_details": DETAILS}, field="reasoning"), by="it")
    assert detailed["reasoning_details"] == DETAILS
    assert "reasoning" not in detailed


@pytest.mark.parametrize("wants", [{"by": "another"}, {"by": "it", "returns": frozenset()}])
def test_nobody_else_gets_it(wants: dict[str, Any]) -> None:
    given_by_it = calls("c1", by="it", call=SIGNED, message={"reasoning_details": DETAILS}, field="reasoning_content")
    message = sent_back(given_by_it, **wants)
    assert set(message) == {"role", "content", "tool_calls"}
    assert set(message["tool_calls"][0]) == {"id", "type", "function"}


def test_calls_that_another_made_have_ids_that_every_server_takes() -> None:
    message = sent_back(calls("call_made_by_us_4711", "x", by=""), by="it")
    ids = [call["id"] for call in message["tool_calls"]]
    assert all(len(one) == 9 and one.isalnum() for one in ids)
    assert len(set(ids)) == 2


@pytest.mark.parametrize("refused", ["reasoning_content", "reasoning_details"])
async def test_a_server_that_does_not_take_back_what_it_gave_does_not_get_it_again(
    model: ModelServer, refused: str
) -> None:
    await model.strict(f"no_back:{refused}")
    async with adapter(model) as llm:
        by = llm.manners_of("fake").by
        made = calls("c1", by=by, message={"reasoning_details": DETAILS}, field="reasoning_content", reasoning="Hm.")
        if refused == "reasoning_content":
            made = calls("c1", by=by, field="reasoning_content", reasoning="Hm.")
        for _ in range(2):
            assert "go " in await answer(llm, [user("a"), made, result("c1"), said("x"), GO])
    assert len(await model.requests()) == 3


async def test_a_server_that_wants_thoughts_with_every_call_gets_them_with_those_of_others_too(
    model: ModelServer,
) -> None:
    await model.strict("back:reasoning_content")
    async with adapter(model) as llm:
        for _ in range(2):
            made = calls("c1", by="another", reasoning="Hm.")
            assert "go " in await answer(llm, [user("a"), made, result("c1"), said("x"), GO])
    assert len(await model.requests()) == 3
    assert (await model.requests())[-1].body["messages"][1]["reasoning_content"] == "Hm."


@pytest.mark.parametrize("history", [[user("a"), calls("c1"), result("c1"), said("x"), GO], [user("a"), said("x"), GO]])
async def test_a_server_that_wants_thoughts_with_all_that_was_said_gets_them(
    model: ModelServer, history: Messages
) -> None:
    await model.strict("thoughts_everywhere")
    async with adapter(model) as llm:
        for _ in range(2):
            assert "go " in await answer(llm, history)
    told = (await model.requests())[-1].body["messages"]
    assert all(one["reasoning_content"] for one in told if one["role"] == "assistant")


async def test_calls_that_a_server_behind_a_proxy_did_not_sign_are_marked_once_it_says_so(model: ModelServer) -> None:
    await model.strict("signed")
    async with adapter(model) as llm:
        for _ in range(2):
            assert "go " in await answer(llm, [user("a"), calls("c1", by="another"), result("c1"), said("x"), GO])
    assert len(await model.requests()) == 3


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ('{"a": ', '{"arguments": "{\\"a\\": "}'),
        ("", "{}"),
        ("null", "{}"),
        ({"a": 1}, '{"a": 1}'),
    ],
)
def test_arguments_are_an_object_whatever_is_stored(arguments: Any, sent: str) -> None:
    message = calls("c1")
    message["tool_calls"][0]["function"]["arguments"] = arguments
    assert sent_back(message)["tool_calls"][0]["function"]["arguments"] == sent
