"""What an MCP server sends is counted and made readable before it is parsed, however its bytes come."""

import asyncio
import gzip
import itertools
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import httpx2
import pytest
from httpx2 import ServerSentEvent
from httpx2._sse import _SSEParser
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp import types
from mcp.shared.message import SessionMessage
from sluiceway.process.shares import Shares
from tool_runner.mcp import http_bodies, large_messages
from tool_runner.mcp.calls import Call
from tool_runner.mcp.edge import Edge
from tool_runner.mcp.fit_text import fit_text
from tool_runner.mcp.http_bodies import BoundedTransport, _Body, _Bounded, _Events
from tool_runner.mcp.large_messages import TOO_SLOW
from tool_runner.mcp.limits import MAX_VALUES, TOO_LARGE, Values

from harness.waiting import wait_until
from tests.any_json import ANY_JSON, ANY_TEXT
from tests.tool_runner.tiny_server import answering, serving

MANY = settings(max_examples=200, deadline=None)
pytestmark = pytest.mark.requirement("CH-24", "SE-4")


def values_of(value: Any) -> int:
    """Strings, objects, lists and commas."""
    match value:
        case str():
            return 1
        case dict() | list():
            inner = [*value, *value.values()] if isinstance(value, dict) else value
            return 1 + max(0, len(value) - 1) + sum(map(values_of, inner))
        case _:
            return 0


def counted(text: bytes, sizes: list[int]) -> int:
    values, begin = Values(), 0
    for size in sizes:
        values.add(text[begin : begin + size])
        begin += size
    values.add(text[begin:])
    return values._found


@MANY
@given(ANY_JSON, st.lists(st.integers(0, 5), max_size=50), st.booleans(), st.sampled_from([None, 1]))
def test_values_are_counted_wherever_the_text_is_cut(
    value: Any, sizes: list[int], ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    # A string that is cut is counted with one of its halves.
    assert abs(counted(text, sizes) - values_of(value)) <= len(sizes) + 1
    assert counted(text, []) == values_of(value)


def test_a_text_may_have_as_many_commas_as_it_likes_and_a_list_may_not() -> None:
    many = "1," * MAX_VALUES + "1"
    for text, too_many in ((json.dumps({"text": many + '\\"' * 10}), False), (f'{{"list": [{many}]}}', True)):
        values = Values()
        values.add(b': a comment of a stream, with a quote "\ndata: ')
        for begin in range(0, len(text), 1000):
            values.add(text[begin : begin + 1000].encode())
        assert values.too_many == too_many


def readable(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@MANY
@given(st.lists(ANY_TEXT), st.booleans())
def test_halves_of_characters_become_unknown_ones_and_nothing_else_changes(texts: list[str], ascii_only: bool) -> None:
    texts += ["\\ud800", "\\\\ud800", "\ud800\\", "\ud83d\ude00", "\ude00\ud83d", "\ud83d\ud83d\ude00"]
    written = json.dumps(texts, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    read = json.loads(fit_text(written))
    assert json.dumps(read).encode().decode() == json.dumps(read)
    if ascii_only:
        assert read == [readable(text) for text in texts]
    else:
        assert [text.replace("\ufffd", "") for text in read] == [without_halves(text) for text in texts]


def without_halves(text: str) -> str:
    return "".join(one for one in text if not "\ud800" <= one <= "\udfff" and one != "\ufffd")


@given(st.binary())
def test_any_bytes_become_text(data: bytes) -> None:
    assert fit_text(data).decode() == fit_text(data).decode("utf-8", "replace")


class Sent(httpx2.AsyncByteStream):
    """A body that stops in the middle until it may go on."""

    def __init__(self, go: asyncio.Event, size: int) -> None:
        self._go, self._size = go, size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self._size // 65536):
            yield b"x" * 65536
        await self._go.wait()
        yield b"\n\n"


class Pieces(httpx2.AsyncByteStream):
    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


def edge_of(server: str, places: Shares) -> Edge:
    return Edge(server, places, lambda: None)


async def read(body: _Bounded) -> bytes:
    try:
        return b"".join([piece async for piece in body])
    finally:
        await body.aclose()  # as the client does


@pytest.mark.parametrize("kind", [_Body, _Events])
async def test_of_large_messages_a_few_are_read_at_once_in_a_process_fewer_of_a_server_and_small_ones_pass(
    kind: type[_Bounded],
) -> None:
    go, places = asyncio.Event(), large_messages.places()
    greedy, other = edge_of("greedy", places), edge_of("other", places)
    held = [kind(Sent(go, 2_000_000), edge) for edge in [greedy] * 5 + [other] * 3]
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        reading = [tasks.create_task(read(body)) for body in held]
        await wait_until(lambda: places.taken() == len(held), 10, "all want to be large")
        assert [body._growing.is_large for body in held] == [True, True, *[False] * 3, True, False, False]
        now = asyncio.Event()
        now.set()
        assert len(await read(kind(Sent(now, 100_000), greedy))) > 65536
        reading[1].cancel()
        reading[-1].cancel()
        go.set()
    assert [task.cancelled() for task in reading] == [False, True, *[False] * 5, True]
    assert places.taken() == 0


@pytest.mark.parametrize("kind", [_Body, _Events])
async def test_a_large_message_that_comes_too_slowly_is_refused_and_its_place_is_anothers(
    kind: type[_Bounded], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_messages, "LARGE_SECONDS", 0.05)
    places = large_messages.places()
    body = kind(Sent(asyncio.Event(), 2_000_000), edge_of("slow", places))
    async with asyncio.timeout(10):
        try:
            said = await read(body)
        except httpx2.StreamError as error:
            said = str(error).encode()
    assert TOO_SLOW.encode() in said
    assert places.taken() == 0


@pytest.mark.parametrize(
    ("kind", "pieces"),
    [(_Body, [b"x" * 600] * 2), (_Events, [b"x" * 600] * 2), (_Events, [b"data\n" * 150])],
    ids=["a body", "an event", "an event of many lines"],
)
async def test_a_message_that_is_too_large_is_refused_however_it_grows(
    kind: type[_Bounded], pieces: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_bodies, "MAX_MESSAGE_BYTES", 1000)
    monkeypatch.setattr(http_bodies, "MAX_LINES", 100)
    try:
        said = await read(kind(Pieces(pieces), edge_of("h", large_messages.places())))
    except httpx2.StreamError as error:
        said = str(error).encode()
    assert TOO_LARGE.encode() in said


async def test_an_answer_that_is_compressed_is_not_read() -> None:
    """What is counted are the bytes that come, and a few of them may be very many."""
    edge = edge_of("h", large_messages.places())
    async with (
        serving(answering(gzip.compress(b"{}"), content_encoding="gzip")) as server,
        httpx2.AsyncClient(transport=BoundedTransport(edge)) as client,
    ):
        with pytest.raises(httpx2.RemoteProtocolError, match="compressed"):
            await client.get(server.url(), headers={"accept-encoding": "gzip"})
        assert [request.headers["accept-encoding"] for request in server.requests] == ["identity"]


def answer_of(number: int, text: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "result": {"text": text}}


def event_of(message: dict[str, Any], end: str, indent: int | None) -> str:
    lines = json.dumps(message, indent=indent).splitlines()
    return "".join(f"{line}{end}" for line in ["event: message", *(f"data: {line}" for line in lines), ""])


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.sampled_from([0, 5, 300, 900]).map(lambda size: "\\u" * size), max_size=6),
    sizes=st.lists(st.integers(1, 400), min_size=1),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    indent=st.sampled_from([None, 1]),
)
def test_events_say_the_same_however_they_are_cut_and_whether_they_are_large(
    texts: list[str], sizes: list[int], end: str, indent: int | None
) -> None:
    messages = [answer_of(number, text) for number, text in enumerate(texts)]
    sent = "".join(event_of(message, end, indent) for message in messages).encode()
    assert asyncio.run(through_the_edge(cut(sent, sizes))) == messages


def cut(sent: bytes, sizes: list[int]) -> Iterator[bytes]:
    begin = 0
    for size in itertools.cycle(sizes):
        if begin >= len(sent):
            return
        yield sent[begin : begin + size]
        begin += size


async def through_the_edge(pieces: Iterable[bytes]) -> list[dict[str, Any]]:
    """What the library gets in the end; 200 bytes are large here, and it is given no more at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large_messages, "LARGE_BYTES", 200)
        places = large_messages.places()
        edge, parser, messages = edge_of("h", places), _SSEParser(), list[Any]()
        async with asyncio.timeout(10):
            async for sent in _Events(Pieces([*pieces, b""]), edge):
                assert max(map(len, sent.split(b"\n"))) < 600
                messages += [taken(edge, event) for event in parser.decode(sent.decode())]
        messages += [taken(edge, event) for event in parser.flush()]
        assert places.taken() == 0
    return messages


def taken(edge: Edge, event: ServerSentEvent) -> Any:
    message = SessionMessage(types.jsonrpc_message_adapter.validate_json(event.data))
    assert edge.received(message)
    return message.message.model_dump(mode="json")


async def test_a_large_answer_keeps_its_place_until_its_call_is_over() -> None:
    places = large_messages.places()
    edge, call = edge_of("h", places), Call()
    with call.asking():
        edge.sent(SessionMessage(types.JSONRPCRequest(jsonrpc="2.0", id=7, method="tools/call")))
        small = await read(_Body(Pieces([json.dumps(answer_of(7, "x" * 2_000_000)).encode()]), edge))
        assert len(small) < 100
        message = SessionMessage(types.jsonrpc_message_adapter.validate_json(small))
        assert edge.received(message)
        assert message.message.model_dump()["result"] == {"text": "x" * 2_000_000}
        assert places.taken() == 1
        call.was_read()
        assert message.message.model_dump()["result"] == {}
        assert places.taken() == 1
    assert places.taken() == 0


async def test_what_nobody_waits_for_any_more_keeps_no_place() -> None:
    places = large_messages.places()
    edge, text = edge_of("h", places), json.dumps(answer_of(7, "x" * 2_000_000)).encode()
    await read(_Body(Pieces([text]), edge))
    edge.end()  # it did not come by
    assert edge.received(
        SessionMessage(types.jsonrpc_message_adapter.validate_json(await read(_Body(Pieces([text]), edge))))
    )
    for odd in (b'{"jsonrpc":"2.0","method":"m","params":{"a":"%b"}}', b'{"id":7,"error":"%b"}', b'["%b"]', b'{"%b'):
        assert len(await read(_Body(Pieces([odd % (b"x" * 2_000_000)]), edge))) < 100
    error = b'{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"%b","data":"%b"}}' % (b"x" * 2_000_000, b"x" * 1000)
    assert len(await read(_Body(Pieces([error]), edge))) < 2100
    assert places.taken() == 0


async def test_a_server_that_floods_its_client_is_heard_out_of_it_only_for_what_matters() -> None:
    told, changes = list[float](), list[None]()
    edge, call = (
        Edge("h", large_messages.places(), lambda: changes.append(None)),
        Call(lambda done, *_: told.append(done)),
    )
    with call.asking():
        edge.sent(SessionMessage(types.JSONRPCRequest(jsonrpc="2.0", id=7, method="tools/call")))
        passed = [
            message.get("method", "answer")
            for number in range(1000)
            for message in flood(number)
            if edge.received(SessionMessage(types.jsonrpc_message_adapter.validate_python(message)))
        ]
    assert told == list(range(1000))
    assert len(changes) == 1000
    assert set(passed) == {"answer", "ping", "notifications/odd"}
    assert passed.count("answer") == 1000
    assert len(passed) < 1100


def flood(number: int) -> list[dict[str, Any]]:
    progress = [{"progressToken": token, "progress": number} for token in (7, 8, None)]
    odd = [{"progressToken": [7], "progress": 1}, {"progressToken": 7, "progress": "1"}, {"progressToken": 7}]
    said = ["notifications/odd", "notifications/message", "notifications/tools/list_changed"]
    return [
        *({"jsonrpc": "2.0", "method": "notifications/progress", "params": params} for params in progress + odd),
        *({"jsonrpc": "2.0", "method": method} for method in said),
        {"jsonrpc": "2.0", "id": number, "method": "ping"},
        {"jsonrpc": "2.0", "id": 1000 + number, "result": {}},
    ]
