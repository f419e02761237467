"""Every fault of a model server becomes one typed error: retryable or not, with a stable code and advice."""

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from sluiceway_llm.calling.model import Model
from sluiceway_llm.model_errors import ModelError, ModelUnavailable
from sluiceway_llm.model_events import ModelEvent

from harness.model_server import ModelServer, answer_to
from harness.processes.ports import free_port
from harness.proxies.tls import Authority
from harness.waiting import wait_until
from tests.llm.llm_client import adapter, ask, events_of, events_until_error, request, text_of

pytestmark = pytest.mark.requirement("CH-7")

KEY = "sk-of-the-test"


async def error_of(server: ModelServer, text: str, **timeouts: float) -> ModelError:
    with pytest.raises(ModelError) as raised:
        await ask(server, text, **timeouts)
    return raised.value


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        ("429", "MODEL_RATE_LIMITED", True),
        ("500", "MODEL_UNAVAILABLE", True),
        ("502", "MODEL_UNAVAILABLE", True),
        ("503", "MODEL_UNAVAILABLE", True),
        ("408", "MODEL_UNAVAILABLE", True),
        ("401", "MODEL_KEY_REJECTED", False),
        ("403", "MODEL_KEY_REJECTED", False),
        ("404", "MODEL_NOT_FOUND", False),
        ("400", "MODEL_BAD_REQUEST", False),
        ("422", "MODEL_BAD_REQUEST", False),
        ("413", "MODEL_CONTEXT_LENGTH_EXCEEDED", False),
        ("context", "MODEL_CONTEXT_LENGTH_EXCEEDED", False),
        ("filter", "MODEL_CONTENT_FILTERED", False),
    ],
)
async def test_an_error_status_becomes_its_typed_error_and_is_asked_for_once(
    model: ModelServer, status: str, code: str, retryable: bool
) -> None:
    error = await error_of(model, f"Hi [[status={status}]]")
    assert (error.code, error.retryable) == (code, retryable)
    assert len(error.user_message) > 20
    assert len(await model.requests()) == 1


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("This model's maximum context length is 4096 tokens. Your prompt has 5000.", "MODEL_CONTEXT_LENGTH_EXCEEDED"),
        ("the request exceeds the available context size", "MODEL_CONTEXT_LENGTH_EXCEEDED"),
        ("Prompt is too long", "MODEL_CONTEXT_LENGTH_EXCEEDED"),
        ("The response was filtered due to the content management policy: content_filter", "MODEL_CONTENT_FILTERED"),
        ("Invalid model: gpt-99, unknown model", "MODEL_NOT_FOUND"),
        ("temperature must be a number", "MODEL_BAD_REQUEST"),
    ],
)
async def test_a_400_is_told_apart_by_its_words_where_servers_have_no_code_for_it(
    model: ModelServer, message: str, code: str
) -> None:
    await model.script({"status": 400, "body": {"error": {"message": message, "code": 400}}})
    assert (await error_of(model, "Hi")).code == code


async def test_the_time_that_a_429_names_is_kept(model: ModelServer) -> None:
    assert (await error_of(model, "Hi [[status=429 retry_after=2.5]]")).retry_after_seconds == 2.5


async def test_a_429_for_want_of_credit_is_not_worth_a_retry(model: ModelServer) -> None:
    body = {"error": {"message": "You exceeded your current quota.", "code": "insufficient_quota"}}
    await model.script({"status": 429, "body": body})
    error = await error_of(model, "Hi")
    assert (error.code, error.retryable) == ("MODEL_QUOTA_EXHAUSTED", False)


async def test_an_error_body_that_is_no_json_is_judged_by_its_status(model: ModelServer) -> None:
    await model.script({"status": 502, "body": "<html>Bad Gateway</html>", "content_type": "text/html"})
    assert (await error_of(model, "Hi")).code == "MODEL_UNAVAILABLE"


async def test_a_bad_request_quotes_the_server_but_never_the_key(model: ModelServer) -> None:
    body = {"error": {"message": f"Bad field 'x'\nin the request of {KEY}.", "code": None}}
    await model.script({"status": 400, "body": body})
    error = await error_of(model, "Hi")
    assert "Bad field 'x' in the request of …." in error.user_message
    assert KEY not in f"{error.user_message} {error!r} {error}"


@pytest.mark.parametrize("how", ["fin", "rst", "eof", "utf8"])
async def test_an_answer_that_is_cut_is_never_taken_for_whole_and_what_came_before_is_kept(
    model: ModelServer, how: str
) -> None:
    kept: list[ModelEvent] = []
    text = f"one two three [[tokens=9 cut=5 gate_after=4:seen how={how}]]"
    async with adapter(model) as llm:
        with pytest.raises(ModelError) as raised:
            await asyncio.gather(events_until_error(llm, request(text), kept), model.open_gate("seen"))
    assert (raised.value.code, raised.value.retryable) == ("MODEL_CUT", True)
    # A reset may overtake the last bytes before it.
    assert answer_to(text, 5).startswith(text_of(kept))
    if how != "rst":
        assert text_of(kept) == answer_to(text, 5)


@pytest.mark.parametrize("how", ["fin", "eof", "rst"])
async def test_an_answer_that_is_cut_before_its_first_token_is_a_cut_too(model: ModelServer, how: str) -> None:
    assert (await error_of(model, f"Hi [[cut=0 how={how}]]")).retryable


@pytest.mark.parametrize("kind", ["json", "html", "type"])
async def test_what_is_not_a_chat_stream_is_garbage(model: ModelServer, kind: str) -> None:
    error = await error_of(model, f"Hi [[tokens=3 garbage={kind}]]")
    assert (error.code, error.retryable) == ("MODEL_GARBAGE", True)


async def test_a_broken_length_in_the_chunked_coding_ends_the_answer_with_an_error_by_the_idle_time(
    model: ModelServer,
) -> None:
    """aiohttp's parser does not wake its reader on this one (3.14.5): the idle time does."""
    kept: list[ModelEvent] = []
    async with adapter(model, idle_timeout=0.3) as llm:
        asked = request("Hi [[tokens=3 rate=0 gate_after=3:shown garbage=chunk]]")
        call = asyncio.create_task(events_until_error(llm, asked, kept))
        await wait_until(lambda: text_of(kept) == "Hi Hi Hi ")
        await model.open_gate("shown")
        with pytest.raises(ModelError) as raised:
            await call
    assert raised.value.code in ("MODEL_TIMEOUT", "MODEL_CUT")


async def test_a_broken_length_before_the_first_token_is_retryable(model: ModelServer) -> None:
    assert (await error_of(model, "Hi [[tokens=0 garbage=chunk]]", first_chunk_timeout=0.3)).retryable


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": [7]},
        {"choices": "text"},
        {"choices": [[]]},
        {"choices": [{"delta": [7]}]},
    ],
)
async def test_a_chunk_of_the_wrong_shape_is_garbage_not_a_crash(model: ModelServer, chunk: dict[str, object]) -> None:
    await model.script({"chunk": chunk})
    assert (await error_of(model, "Hi")).code == "MODEL_GARBAGE"


async def test_an_answer_that_is_json_instead_of_a_stream_is_garbage(model: ModelServer) -> None:
    await model.script({"status": 200, "body": {"object": "chat.completion", "choices": []}})
    assert (await error_of(model, "Hi")).code == "MODEL_GARBAGE"


@pytest.mark.parametrize(
    ("told", "code", "retryable"),
    [
        ({"message": "x", "code": "server_error"}, "MODEL_UNAVAILABLE", True),
        ({"message": "Overloaded", "type": "overloaded_error"}, "MODEL_UNAVAILABLE", True),
        ({"message": "slow down", "code": "rate_limit_exceeded"}, "MODEL_RATE_LIMITED", True),
        ({"message": "slow down", "code": 429}, "MODEL_RATE_LIMITED", True),
        ({"message": "too long", "code": "context_length_exceeded"}, "MODEL_CONTEXT_LENGTH_EXCEEDED", False),
        ({"message": "no", "type": "invalid_request_error"}, "MODEL_BAD_REQUEST", False),
        ({"message": "who are you", "code": "invalid_api_key"}, "MODEL_KEY_REJECTED", False),
        ("it broke", "MODEL_UNAVAILABLE", True),
    ],
)
async def test_an_error_object_inside_the_stream_ends_the_answer_with_its_typed_error(
    model: ModelServer, told: object, code: str, retryable: bool
) -> None:
    await model.script({"text": "Well, "}, {"error": told})
    kept: list[ModelEvent] = []
    async with adapter(model) as llm:
        with pytest.raises(ModelError) as raised:
            await events_until_error(llm, request("Hi"), kept)
    assert (raised.value.code, raised.value.retryable) == (code, retryable)
    assert text_of(kept) == "Well, "


@pytest.mark.parametrize("where", ["stall_headers=ever", "stall=ever"])
async def test_a_server_that_is_silent_before_its_first_token_times_out(model: ModelServer, where: str) -> None:
    error = await error_of(model, f"Hi [[{where}]]", first_chunk_timeout=0.2, idle_timeout=30)
    assert (error.code, error.retryable) == ("MODEL_TIMEOUT", True)
    await model.wait_for(lambda seen: seen.client_closed_at)


async def test_a_server_that_falls_silent_in_mid_answer_times_out_after_the_idle_time(model: ModelServer) -> None:
    kept: list[ModelEvent] = []
    text = "one two [[tokens=9 rate=0 stall_after=3]]"
    async with adapter(model, first_chunk_timeout=30, idle_timeout=0.2) as llm:
        with pytest.raises(ModelError) as raised:
            await events_until_error(llm, request(text), kept)
    assert (raised.value.code, text_of(kept)) == ("MODEL_TIMEOUT", answer_to(text, 3))
    await model.wait_for(lambda seen: seen.client_closed_at)


async def test_nobody_listening_is_unavailable() -> None:
    async with Model(f"http://127.0.0.1:{free_port()}/v1", KEY) as llm:
        with pytest.raises(ModelError) as raised:
            await events_of(llm, request("Hi"))
        assert (raised.value.code, raised.value.retryable) == ("MODEL_UNAVAILABLE", True)
        with pytest.raises(ModelError) as raised:
            await llm.probe()
        assert raised.value.code == "MODEL_UNAVAILABLE"


async def test_a_host_that_does_not_exist_is_unavailable() -> None:
    async with Model("http://no-such-host.invalid/v1", KEY) as llm:
        with pytest.raises(ModelError) as raised:
            await events_of(llm, request("Hi"))
        assert raised.value.code == "MODEL_UNAVAILABLE"


async def test_a_server_that_closes_without_an_answer_is_unavailable() -> None:
    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(close, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Model(f"http://127.0.0.1:{port}/v1", KEY) as llm:
            with pytest.raises(ModelError) as raised:
                await events_of(llm, request("Hi"))
    assert (raised.value.code, raised.value.retryable) == ("MODEL_UNAVAILABLE", True)


async def test_a_server_that_does_not_take_connections_times_out_on_connecting() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        # The queue of a socket that accepts nobody holds a connection or two; the next one waits for ever.
        waiting = [socket.socket() for _ in range(3)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        async with Model(f"http://127.0.0.1:{port}/v1", KEY, connect_timeout=0.2) as llm:
            with pytest.raises(ModelError) as raised:
                await events_of(llm, request("Hi"))
        for client in waiting:
            client.close()
    assert (raised.value.code, raised.value.retryable) == ("MODEL_UNAVAILABLE", True)


@pytest.mark.parametrize("address", ["localhost:8080/v1", "ftp://localhost/v1", "http://127.0.0.1:99999/v1"])
async def test_an_address_that_is_none_is_rejected_with_advice(address: str) -> None:
    async with Model(address, KEY) as llm:
        with pytest.raises(ModelError) as raised:
            await llm.probe()
    assert (raised.value.code, raised.value.retryable) == ("MODEL_WRONG_ADDRESS", False)
    assert "OPENAI_BASE_URL" in raised.value.user_message


@pytest.mark.parametrize("status", [404, 405, 429, 400])
async def test_a_server_that_does_not_list_its_models_is_reachable_all_the_same(
    model: ModelServer, status: int
) -> None:
    await model.script({"status": status}, path="/models")
    async with adapter(model) as llm:
        await llm.probe()
    assert len(await model.requests(lists=True)) == 1


@pytest.mark.parametrize(
    ("status", "code"), [(401, "MODEL_KEY_REJECTED"), (403, "MODEL_KEY_REJECTED"), (503, "MODEL_UNAVAILABLE")]
)
async def test_the_probe_says_what_keeps_the_server_from_answering(model: ModelServer, status: int, code: str) -> None:
    await model.script({"status": status}, path="/models")
    async with adapter(model) as llm:
        with pytest.raises(ModelError) as raised:
            await llm.probe()
    assert raised.value.code == code


async def test_the_probe_notices_a_web_page_where_an_api_should_be(model: ModelServer) -> None:
    page = {"status": 200, "body": "<html></html>", "content_type": "text/html; charset=utf-8"}
    await model.script(page, path="/models")
    async with adapter(model) as llm:
        with pytest.raises(ModelError) as raised:
            await llm.probe()
    assert raised.value.code == "MODEL_WRONG_ADDRESS"


async def _fault_of(address: str) -> dict[str, Any]:
    """What a log may have of a call of a server that is not reached, and of the probe that asks whether it is there."""
    told: list[dict[str, Any]] = []
    async with Model(f"{address}/v1", "sk-of-the-test") as model:
        with pytest.raises(ModelUnavailable) as called:
            await events_of(model, request("Hi"))
        with pytest.raises(ModelUnavailable) as probed:
            await model.probe()
        told += [called.value.facts(), probed.value.facts()]
    assert told[0] == told[1]
    return told[0]


async def test_an_operator_is_told_why_a_server_is_not_reached(tmp_path: Path) -> None:
    certificate = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.load_cert_chain(*Authority(tmp_path).certified("server"))
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=certificate)
    async with server:
        port = server.sockets[0].getsockname()[1]
        unknown_authority = await _fault_of(f"https://127.0.0.1:{port}")
    assert unknown_authority["reason"].startswith("TLS: ")
    assert "issuer certificate" in unknown_authority["reason"]
    nobody = await _fault_of(f"http://127.0.0.1:{port}")
    assert "Connect call failed" in nobody["reason"]
