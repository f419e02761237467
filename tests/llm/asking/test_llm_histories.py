"""Histories of whatever shape are sent so that strict servers take them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sluiceway_llm.asking.history import Wants, fitted

from harness.model_server import ModelServer
from harness.model_server.strictness import refusal_for
from tests.llm.llm_client import adapter
from tests.llm.messages import GO, SYSTEM, Messages, answer, calls, result, said, tool, user

pytestmark = pytest.mark.requirement("CH-25")
STRICT = ("alternate", "tools_with_calls", "pairs", "names", "filled", "ids_forty")
HISTORIES: dict[str, Messages] = {
    "a turn that failed": [SYSTEM, user("a"), GO],
    "two that failed": [user("a"), user("b"), GO],
    "a window that begins with an answer": [SYSTEM, said("x"), user("a"), said("y"), GO],
    "a window that begins with a result": [result("c"), said("x"), GO],
    "an answer in two messages": [user("a"), said("x"), said("y"), GO],
    "a turn that failed behind its tools": [user("a"), calls("c1"), result("c1"), GO],
    "a call without its result": [user("a"), calls("c1", "c2"), result("c2"), said("x"), GO],
    "a result without its call": [user("a"), said("x"), result("c9"), GO],
    "an answer that is empty": [user("a"), said(""), GO],
    "a result that is empty": [user("a"), calls("c1"), result("c1", ""), said("x"), GO],
    "a name that is none": [user("a"), calls("c1", name="functions.note<|channel|>json"), result("c1"), said("x"), GO],
    "a name that is nothing": [user("a"), calls("c1", name="…"), result("c1"), said("x"), GO],
    "a long id": [user("a"), calls("i" * 60), result("i" * 60), said("x"), GO],
    "ids that are the same": [user("a"), calls("c"), result("c"), said("x"), user("b"), calls("c"), result("c"), GO],
}


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES.keys())
async def test_a_history_of_whatever_shape_fits_a_strict_server_at_once(model: ModelServer, history: Messages) -> None:
    await model.strict(*STRICT)
    async with adapter(model) as llm:
        assert (await answer(llm, history)).startswith("go ")
    assert len(await model.requests()) == 1


async def test_tools_are_there_where_calls_are_also_when_none_is_offered(model: ModelServer) -> None:
    history = [user("a"), calls("c1"), result("c1"), said("x"), GO]
    async with adapter(model) as llm:
        await answer(llm, history)
        await answer(llm, [GO])
    with_calls, without = await model.requests()
    assert [one["function"]["name"] for one in with_calls.body["tools"]] == ["note"]
    assert with_calls.body["tool_choice"] == "none"
    assert "tools" not in without.body


async def test_for_models_without_tools_calls_are_told_as_text(model: ModelServer) -> None:
    async with adapter(model) as llm:
        await answer(llm, [user("a"), calls("c1"), result("c1", "42"), GO], tool_messages=False)
    [record] = await model.requests()
    assert record.body["messages"] == [user("a\n\n[Result of the tool note: 42]\n\ngo")]
    assert "tools" not in record.body


def test_thoughts_in_tags_are_not_sent_back() -> None:
    sent = fitted([user("a"), said("<think>Hm.</think>\n\nx"), user("b"), said("<think>cut off"), GO], Wants())
    assert [one["content"] for one in sent] == ["a", "x", "b", "(The answer was not finished.)", "go"]


@pytest.mark.parametrize("failed", [1, 2, 5])
@pytest.mark.parametrize("wants", [Wants(), Wants(turns=True), Wants(tools=False, system=False)], ids=str)
def test_however_many_questions_failed_the_last_stands_alone_and_the_assistant_says_so_once(
    failed: int, wants: Wants
) -> None:
    questions = [f"question {number}" for number in range(failed)]
    sent = fitted([user("a"), said("x"), *map(user, questions), GO], wants)
    assert sent == [user("a"), said("x"), user("\n\n".join(questions)), said("(The answer was not finished.)"), GO]


def test_pictures_of_questions_that_failed_stay_with_their_words() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    words = {"type": "text", "text": "b"}
    sent = fitted([user("a"), {"role": "user", "content": [words, picture]}, user("c"), GO], Wants())
    assert sent[0]["content"] == [
        {"type": "text", "text": "a"},
        words,
        picture,
        {"type": "text", "text": "c"},
    ]
    assert [one["role"] for one in sent] == ["user", "assistant", "user"]


@pytest.mark.parametrize("turns", [True, False])
def test_behind_results_the_assistant_is_not_made_to_say_what_small_models_say_again(turns: bool) -> None:
    history = [user("a"), calls("c1"), result("c1", "It runs."), user("b"), said("x"), GO]
    told = [one["content"] for one in fitted(history, Wants(turns=turns)) if one["role"] == "assistant"]
    assert [text for text in told if text] == ["x"]


def test_a_question_behind_results_is_told_with_them_only_where_it_has_to_be() -> None:
    history = [user("a"), calls("c1"), result("c1", "42"), GO]
    assert fitted(history, Wants(turns=True)) == [user("a\n\n[Result of the tool note: 42]\n\ngo")]
    assert [one["role"] for one in fitted(history, Wants())] == ["user", "assistant", "tool", "user"]


async def test_that_a_question_may_not_follow_results_is_learned(model: ModelServer) -> None:
    await model.strict("no_user_after_tool")
    async with adapter(model) as llm:
        for _ in range(2):
            assert "go" in await answer(llm, [user("a"), calls("c1"), result("c1"), GO])
    assert len(await model.requests()) == 3


_text = st.sampled_from(["", " ", "a", "<think>x</think>b", "\n"])
_ids = st.sampled_from(["a", "b", "", "i" * 60, "x y", "call_1"])
_message = st.one_of(
    st.builds(user, _text),
    st.builds(said, _text),
    st.builds(lambda text: {"role": "system", "content": text}, _text),
    st.builds(result, _ids, _text),
    st.builds(
        lambda ids, name, by: calls(*ids, name=name, by=by),
        st.lists(_ids, min_size=1, max_size=3),
        st.sampled_from(["note", "a.b", "ü", "x" * 80]),
        st.sampled_from([None, "it", "other"]),
    ),
)


@settings(deadline=None)
@given(messages=st.lists(_message, max_size=12), by=st.sampled_from(["it", ""]))
def test_any_history_fits_every_strict_server_and_fits_it_still(messages: Messages, by: str) -> None:
    sent = fitted(messages, Wants(by=by))
    body = {"messages": sent, "tools": [tool("note")], "model": "fake"}
    assert refusal_for([*STRICT], body) is None, sent
    assert refusal_for(["ids_nine"], {"messages": fitted(messages, Wants(by=by, nine_ids=True))}) is None
    assert fitted(sent, Wants(by=by)) == sent
    plain = fitted(messages, Wants(by=by, tools=False, system=False))
    assert refusal_for(["alternate", "no_tools", "no_system", "filled"], {"messages": plain, "model": "m"}) is None
