"""What an MCP server sends is counted and made readable before it is parsed, however its bytes come."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tool_runner.mcp.fit_text import fit_text
from tool_runner.mcp.limits import _MOST_LARGE, MAX_VALUES, Values, _Body, _Bounded, _Events

from harness.waiting import wait_until
from tests.shared.wire.test_json_values import _ANY_TEXT, ANY_JSON

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
@given(st.lists(_ANY_TEXT), st.booleans())
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
        yield b"\n"


async def read(body: _Bounded) -> int:
    size = sum([len(piece) async for piece in body])
    await body.aclose()
    return size


@pytest.mark.parametrize("kind", [_Body, _Events])
async def test_of_large_messages_of_a_server_a_few_are_read_at_once_and_small_ones_pass(kind: type[_Bounded]) -> None:
    go, large = asyncio.Event(), asyncio.Semaphore(_MOST_LARGE)
    held = [kind(Sent(go, 2_000_000), large) for _ in range(_MOST_LARGE + 3)]
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        reading = [tasks.create_task(read(body)) for body in held]
        await wait_until(large.locked, 10, "as many as may are large")
        now = asyncio.Event()
        now.set()
        assert await read(kind(Sent(now, 100_000), large)) > 65536
        assert sum(body._is_large for body in held) == _MOST_LARGE
        reading[-1].cancel()
        go.set()
    assert sum(task.result() for task in reading[:-1]) > (_MOST_LARGE + 2) * 1_900_000
    assert not large.locked()
