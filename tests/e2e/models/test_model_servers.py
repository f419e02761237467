"""Model servers as they are in the field, as a browser sees them at POST /api/chat, with every process real."""

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import pytest

from harness.clients.calling import TOOLS_DIR, offered
from harness.clients.chat import Chat
from harness.clients.folding import Message, fold
from harness.clients.sse import Chunk, follow
from harness.model_server import ModelServer, answer_to
from harness.model_server.record import Record
from harness.processes.services import Services
from harness.waiting import wait_until

pytestmark = pytest.mark.requirement("CH-25")

D = "[DONE]"
STEPS_CALL = (
    '<\uff5ctool_call_begin\uff5c>function<\uff5ctool_sep\uff5c><steptml:invoke name="echo">'
    '<steptml:parameter name="text">one</steptml:parameter></steptml:invoke><\uff5ctool_call_end\uff5c>'
)
SIGNATURE = {"google": {"thought_signature": "c2ln"}}
DETAILS = [{"type": "reasoning.encrypted", "data": "x", "id": "r1"}, {"type": "reasoning.text", "text": "Hm."}]


@dataclass
class Browser:
    """A chat of the stock client's: its turns, each in one request."""

    url: str
    session_id: str = field(default_factory=lambda: f"ses-{uuid4().hex}")

    async def ask(self, text: str) -> Message:
        return fold(await self.chunks(text))

    async def chunks(self, text: str) -> list[Any]:
        parts = [{"type": "text", "text": text}]
        message = {"id": f"m-{uuid4().hex}", "role": "user", "parts": parts}
        body = {"id": self.session_id, "messages": [message], "trigger": "submit-message"}
        async with follow(f"{self.url}/api/chat", method="POST", json=body) as stream:
            assert stream.status == 200, stream.response.text
            await stream.read_to_end()
        return stream.events


@pytest.fixture
def browser(chat: Chat) -> Browser:
    return Browser(chat.url)


def delta(**fields: Any) -> Chunk:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


def end(reason: str, **beside: Any) -> Chunk:
    return {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": reason}], **beside}


def call(name: str, arguments: Any, index: int = 0, call_id: str = "a", **beside: Any) -> Chunk:
    function = {"name": name, "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments)}
    return delta(tool_calls=[{"index": index, "id": call_id, "function": function, **beside}])


async def sends(model: ModelServer, *frames: Any, times: int = 1) -> None:
    """The next answer is a stream of just these events."""
    body = "".join(f"data: {frame if isinstance(frame, str) else json.dumps(frame)}\n\n" for frame in frames)
    await model.script({"status": 200, "body": body, "content_type": "text/event-stream"}, times=times)


async def asked(model: ModelServer) -> list[Record]:
    return [record for record in await model.requests() if record.path.endswith("/chat/completions")]


async def last_status(chat: Chat, browser: Browser) -> str:
    return str((await chat.session(browser.session_id))["messages"][-1]["metadata"]["status"])


async def answers_again(browser: Browser) -> None:
    assert (await browser.ask("and now? [[tokens=3 rate=0]]")).text == answer_to("and now?", 3)


@pytest.mark.requirement("CH-7")
@pytest.mark.parametrize(
    "frames",
    [
        [delta(content="Some"), end("error", error={"code": 502, "message": "upstream gone"}), D],
        [delta(content="Some"), end("error"), D],
    ],
)
async def test_an_answer_that_ends_with_an_error_is_kept_and_told_as_failed(
    chat: Chat, browser: Browser, model: ModelServer, frames: list[Any]
) -> None:
    await sends(model, *frames)
    message = await browser.ask("go")
    assert (message.text, bool(message.error)) == ("Some", True)
    assert message.data[-1]["data"]["code"] == "MODEL_UNAVAILABLE"
    assert await last_status(chat, browser) == "failed"
    assert len(await asked(model)) == 1
    await answers_again(browser)


async def test_characters_that_cannot_be_stored_are_replaced_and_the_turn_ends(
    chat: Chat, browser: Browser, model: ModelServer
) -> None:
    await sends(model, delta(content="before\0after"), '{"choices":[{"delta":{"content":"\\ud800!"}}]}', end("stop"), D)
    assert (await browser.ask("go")).text == "before\ufffdafter\ufffd!"
    assert await last_status(chat, browser) == "completed"
    await sends(model, call("no\0te", '{"a": "\\u0000"}', call_id="\0"), {**end("stop"), "model": "m\0"}, D)
    await sends(model, delta(content="So."), end("stop"), D)
    assert (await browser.ask("go on")).text == "So."
    await answers_again(browser)


@pytest.mark.requirement("CH-8")
@pytest.mark.parametrize("ids", [("a", "b"), ("", "")])
async def test_parallel_calls_that_all_have_index_0_are_both_run(
    browser: Browser, model: ModelServer, ids: tuple[str, str]
) -> None:
    await sends(
        model, call("echo", {"text": "one"}, 0, ids[0]), call("echo", {"text": "two"}, 0, ids[1]), end("tool_calls"), D
    )
    await sends(model, delta(content="Both."), end("stop"), D)
    message = await browser.ask("go")
    assert [part["output"] for part in message.tools.values()] == [{"said": "one"}, {"said": "two"}]
    assert message.text == "Both."


@pytest.mark.requirement("CH-8")
@pytest.mark.parametrize(
    "written",
    [
        "<|tool_call_start|>[echo(text='one')]<|tool_call_end|>",
        '[echo(text="one")]',
        '{"name": "echo", "parameters": {"text": "one"}}',
        STEPS_CALL,
        "<start_function_call>call:echo{text:<escape>one<escape>}<end_function_call>",
    ],
    ids=["LFM", "Llama 4", "Llama 3", "Step-3", "Gemma"],
)
async def test_a_call_that_a_model_wrote_as_text_is_run(browser: Browser, model: ModelServer, written: str) -> None:
    await sends(model, *(delta(content=letter) for letter in written), end("stop"), D)
    await sends(model, delta(content="Done."), end("stop"), D)
    message = await browser.ask("go")
    assert [part["output"] for part in message.tools.values()] == [{"said": "one"}]
    assert message.text == "Done."


@pytest.mark.requirement("CH-8")
@pytest.mark.parametrize("arguments", ['{"text": "a very lo', ""])
async def test_no_call_of_an_answer_that_reached_its_limit_is_run(
    browser: Browser, model: ModelServer, arguments: str
) -> None:
    await sends(model, call("echo", {"text": "whole"}, 0, "w"), call("echo", arguments, 1, "c"), end("length"), D)
    await sends(model, call("echo", arguments, 0, "c"), end("length"), D, times=10)
    message = await browser.ask("go")
    assert message.data[-1]["data"]["code"] == "MODEL_OUTPUT_LIMIT"
    assert "limit" in (message.error or "")
    assert {part["state"] for part in message.tools.values()} == {"output-error"}
    assert len(await asked(model)) == 2
    await model.reset()
    await answers_again(browser)


@pytest.mark.requirement("CH-8")
async def test_a_model_whose_calls_were_cut_once_may_make_shorter_ones(browser: Browser, model: ModelServer) -> None:
    await sends(model, call("echo", '{"text": "a very lo', 0, "c"), end("length"), D)
    await sends(model, call("echo", {"text": "short"}, 0, "d"), end("tool_calls"), D)
    await sends(model, call("echo", '{"text": "a very lo', 0, "e"), end("length"), D)
    await sends(model, delta(content="Done."), end("stop"), D)
    assert (await browser.ask("go")).text == "Done."
    told = (await asked(model))[1].body["messages"][-1]
    assert "OUTPUT_CUT" in told["content"]


@pytest.mark.requirement("CH-8", "CH-16")
@pytest.mark.parametrize(
    ("given", "in_call", "field"),
    [
        ({"reasoning_content": "Hm."}, {}, "reasoning_content"),
        ({"reasoning": "Hm.", "reasoning_details": DETAILS}, {}, "reasoning_details"),
        ({}, {"extra_content": SIGNATURE}, "extra_content"),
    ],
)
async def test_what_a_server_gave_with_its_calls_goes_back_within_the_turn_later_and_behind_an_approval(
    chat: Chat, browser: Browser, model: ModelServer, given: Any, in_call: Any, field: str
) -> None:
    thoughts = [delta(**given)] if given else []
    await model.strict(f"back:{field}", "pairs", "tools_with_calls")
    await sends(model, *thoughts, call("echo", {"text": "one"}, 0, "own.1", **in_call), end("tool_calls"), D)
    await sends(model, *thoughts, call("careful", {"text": "two"}, 0, "own.2", **in_call), end("tool_calls"), D)
    waiting = await browser.ask("go")
    assert waiting.tools["own.2"]["state"] == "approval-requested"
    task_id = (await chat.session(browser.session_id))["messages"][-1]["metadata"]["taskId"]
    answer = await chat.post(f"/api/chat/tasks/{task_id}/approvals/own.2", {"approved": True})
    assert answer.status_code == 202, answer.text
    await wait_until(lambda: _says(chat, browser, "go "), what="the turn goes on behind the approval")
    await answers_again(browser)

    sent = [one for one in (await asked(model))[-1].body["messages"] if one.get("tool_calls")]
    assert [one["tool_calls"][0]["id"] for one in sent] == ["own.1", "own.2"]
    for one in sent:
        expected = SIGNATURE if in_call else given[field]
        assert (one["tool_calls"][0] if in_call else one)[field] == expected


async def _says(chat: Chat, browser: Browser, text: str) -> bool:
    session = await chat.session(browser.session_id)
    said = "".join(part.get("text", "") for part in session["messages"][-1]["parts"] if part["type"] == "text")
    return text in said and session.get("active_task") is None


async def test_a_call_under_a_name_that_no_server_takes_fails_and_the_turn_and_the_next_continue(
    browser: Browser, model: ModelServer
) -> None:
    await model.strict("names", "pairs", "alternate")
    await sends(model, call("functions.note<|channel|>json", {}, 0, "a"), end("tool_calls"), D)
    message = await browser.ask("go [[tokens=2 rate=0]]")
    assert (message.text, message.error) == ("go go ", None)
    assert [part["state"] for part in message.tools.values()] == ["output-error"]
    await answers_again(browser)


@pytest.mark.requirement("CH-8")
async def test_a_model_that_calls_for_ever_answers_in_the_last_round_of_a_server_that_wants_tools_with_calls(
    browser: Browser, model: ModelServer
) -> None:
    await model.strict("tools_with_calls")
    await sends(model, call("echo", {"text": "again"}, 0, ""), end("tool_calls"), D, times=11)
    assert (await browser.ask("go [[tokens=2 rate=0]]")).text == "go go "
    assert (await asked(model))[-1].body["tool_choice"] == "none"


@pytest.mark.parametrize("rule", ["ids_nine", "ids_forty"])
async def test_a_tool_that_a_person_called_and_a_long_id_are_told_with_ids_that_strict_servers_take(
    browser: Browser, model: ModelServer, rule: str
) -> None:
    await model.strict(rule, "pairs")
    await sends(model, call("echo", {"text": "x"}, 0, "i" * 60), end("stop"), D)
    message = await browser.ask('/echo {"text": "one [[tokens=1]]"}')
    assert (len(message.tools), message.error) == (2, None)
    assert (await browser.ask("go [[tokens=2 rate=0]]")).text == "go go "
    assert len(await asked(model)) == 3, "none was refused"


async def test_a_turn_that_failed_and_one_that_was_stopped_do_not_keep_a_strict_server_from_the_next(
    chat: Chat, browser: Browser, model: ModelServer
) -> None:
    await model.strict("alternate", "filled")
    assert (await browser.ask("fail [[status=400]]")).error
    turn = await chat.send(browser.session_id, "stop [[stall=ever]]")
    await wait_until(lambda: _reached(model, "stop [["), what="the model is asked")
    await chat.cancel(turn.task_id)
    await chat.answer(turn)
    await answers_again(browser)


async def _reached(model: ModelServer, match: str) -> bool:
    return bool(await model.requests(match))


async def test_thoughts_in_tags_are_reasoning_and_nothing_of_them_is_in_the_next_request(
    browser: Browser, model: ModelServer
) -> None:
    pieces = ["<th", "ink>", "Secret ", "thought</th", "ink>\n\n", "Hello."]
    await sends(model, *(delta(content=piece) for piece in pieces), end("stop"), D)
    message = await browser.ask("go")
    assert (message.reasoning, message.text) == ("Secret thought", "Hello.")
    await answers_again(browser)
    assert "Secret" not in json.dumps((await asked(model))[-1].body)


@pytest.mark.parametrize("frames", [[end("stop"), D], [delta(tool_calls=[]), end("tool_calls"), D]])
async def test_an_answer_that_says_nothing_is_told_as_an_error(
    browser: Browser, model: ModelServer, frames: list[Any]
) -> None:
    await sends(model, *frames, times=9)
    message = await browser.ask("go")
    assert message.data[-1]["data"]["code"] == "MODEL_EMPTY"
    assert len(await asked(model)) == 2


async def test_a_whole_completion_and_an_error_with_200_are_what_they_are(browser: Browser, model: ModelServer) -> None:
    message = {"role": "assistant", "content": "Whole."}
    usage = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
    await model.script(
        {"status": 200, "body": {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}}
    )
    answer = await browser.ask("go")
    assert (answer.text, answer.metadata["usage"]["outputTokens"]) == ("Whole.", 3)
    await model.script({"status": 200, "body": {"error": {"code": 402, "message": "Insufficient credits"}}})
    assert (await browser.ask("go on")).data[-1]["data"]["code"] == "MODEL_QUOTA_EXHAUSTED"
    assert len(await asked(model)) == 2


@pytest.mark.requirement("CH-7")
async def test_a_model_that_is_away_is_waited_for_and_the_browser_is_told(browser: Browser, model: ModelServer) -> None:
    question = "go [[status=503 retry_after=0.3 times=2 tokens=2 rate=0]]"
    chunks = await browser.chunks(question)
    message = fold(chunks)
    assert (message.text, message.error) == (answer_to(question, 2), None)
    states = [told["data"] for told in message.data if told["type"] == "data-status"]
    assert [told["state"] for told in states] == ["waiting", "waiting", "running"]
    assert states[0]["waitsFor"] == "model"
    assert states[0]["code"] == "MODEL_UNAVAILABLE"
    assert states[0]["message"].endswith("It is asked again by itself.")
    assert states[0]["since"] == states[1]["since"] < states[0]["nextTryAt"] < states[1]["nextTryAt"]
    assert all(told["transient"] for told in message.data)


@pytest.mark.requirement("CH-7", "CH-13")
async def test_a_turn_that_waits_for_its_model_is_stopped_at_once(
    chat: Chat, browser: Browser, model: ModelServer
) -> None:
    await answers_again(browser)
    turn = await chat.send(browser.session_id, "wait [[status=429 retry_after=200]]")
    await wait_until(lambda: _reached(model, "wait [["), what="the model is asked")
    await chat.cancel(turn.task_id)
    message = fold(await chat.answer(turn, timeout=10))
    assert message.aborted
    await answers_again(browser)


@pytest.mark.requirement("CH-7", "TS-13")
async def test_patience_ends_and_the_log_says_why_without_a_word_of_the_conversation(
    services: Services, model: ModelServer
) -> None:
    system = await services.whole(MODEL_PATIENCE_SECONDS="1")
    message = await Browser(system.url).ask("xylophone [[status=503]]")
    assert message.error
    lines = await wait_until(
        lambda: [line for line in system.worker.log_lines if line["event"] == "model_failed"], what="it is logged"
    )
    assert lines is not None
    assert (lines[0]["code"], lines[0]["status"], lines[0]["model"]) == ("MODEL_UNAVAILABLE", 503, "fake")
    assert lines[0]["attempts"] == len(await asked(model)) > 1
    assert "xylophone" not in system.worker.output


async def test_a_model_that_knows_no_tools_and_a_server_that_refuses_parameters_are_learned_once(
    services: Services, model: ModelServer
) -> None:
    await model.strict("no_tools", "no:stream_options", "no:user", "max_completion_tokens")
    system = await services.whole(tool_runners=1, TOOLS_DIR=str(TOOLS_DIR), MAX_OUTPUT_TOKENS="500")
    await offered(system.url, "echo")
    browser = Browser(system.url)
    await browser.ask('/echo {"text": "one"}')
    await model.strict("no_tools", "no:stream_options", "no:user", "max_completion_tokens")
    for _ in range(2):
        await answers_again(browser)
    refused = [record for record in await asked(model) if record.tokens_sent == 0]
    assert len(refused) <= 5
    assert "[Result of the tool echo" in json.dumps((await asked(model))[-1].body["messages"])
    learned = [line for line in system.worker.log_lines if line["event"].startswith("model_server_refuses")]
    assert any("lesson=tools" in line["event"] for line in learned)
    async with httpx.AsyncClient() as http:
        told = (await http.get(f"{system.worker.url}/readyz")).json()["details"]["models"]["fake"]["learned"]
    assert {"tools", "stream_options"} <= set(told)
