"""HTTP as servers and proxies of the field speak it: each case is the bytes of a whole response."""

import asyncio
import gzip
from dataclasses import dataclass

import pytest
from sluiceway_llm.calling.model import Model
from sluiceway_llm.model_errors import ModelError
from sluiceway_llm.model_events import ModelEvent

from tests.llm.field.cases import USED, D, U, asked, end, lines, say
from tests.llm.llm_client import events_until_error, finished, text_of

pytestmark = pytest.mark.requirement("CH-25")

STREAM = lines(say("a"), say("ü"), end("stop"), U, D).encode()
BEGUN = lines(say("a"), say("ü")).encode()
TYPE = "Content-Type: text/event-stream"


def response(body: bytes, *headers: str, status: str = "HTTP/1.1 200 OK") -> bytes:
    return "\r\n".join([status, *headers, "", ""]).encode() + body


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


@dataclass(frozen=True)
class Sent:
    name: str
    sent: bytes
    text: str = "aü"
    error: str | None = None


RESPONSES = [
    Sent("HTTP/1.0, ended by its close", response(STREAM, TYPE, status="HTTP/1.0 200 OK")),
    Sent("HTTP/1.1 without a length", response(STREAM, TYPE, "Connection: close")),
    Sent("a length", response(STREAM, TYPE, f"Content-Length: {len(STREAM)}")),
    Sent("no type", response(STREAM, "Connection: close")),
    Sent("the type of JSON", response(STREAM, "Content-Type: application/json", "Connection: close")),
    Sent("the type of a text, in another set", response(STREAM, "Content-Type: text/plain; charset=latin-1")),
    Sent("chunked", response(chunked(STREAM, b""), TYPE, "Transfer-Encoding: chunked")),
    Sent(
        "chunks that end within characters",
        response(
            chunked(*(STREAM[n : n + 3] for n in range(0, len(STREAM), 3)), b""), TYPE, "Transfer-Encoding: chunked"
        ),
    ),
    Sent(
        "chunked, with an extension",
        response(b"5;x=y\r\ndata:\r\n", TYPE, "Transfer-Encoding: chunked") + chunked(STREAM[5:], b""),
    ),
    Sent("gzip that nobody asked for", response(gzip.compress(STREAM), TYPE, "Content-Encoding: gzip")),
    Sent("a reason that is empty", response(STREAM, TYPE, status="HTTP/1.1 200 ")),
    Sent(
        "a cookie and a proxy's headers",
        response(STREAM, TYPE, "Set-Cookie: a=b", "Via: 1.1 x", "X-Accel-Buffering: no"),
    ),
    Sent(
        "a hint before the answer",
        response(b"", "Link: </x>", status="HTTP/1.1 103 Early Hints") + response(STREAM, TYPE),
    ),
    Sent("chunked, closed behind [DONE]", response(chunked(STREAM), TYPE, "Transfer-Encoding: chunked")),
    Sent(
        "chunked, closed in the middle", response(chunked(BEGUN), TYPE, "Transfer-Encoding: chunked"), error="MODEL_CUT"
    ),
    Sent("shorter than its length", response(BEGUN, TYPE, f"Content-Length: {len(STREAM)}"), error="MODEL_CUT"),
    Sent("closed in the middle", response(BEGUN, TYPE, "Connection: close"), error="MODEL_CUT"),
    Sent("closed within an event", response(BEGUN[:-9], TYPE, "Connection: close"), text="a", error="MODEL_CUT"),
    Sent("no more than a status", response(b"", TYPE, "Content-Length: 0"), text="", error="MODEL_CUT"),
    Sent("nothing at all", b"", text="", error="MODEL_UNAVAILABLE"),
    Sent("what is not HTTP", b"SSH-2.0-OpenSSH_9.2\r\n", text="", error="MODEL_UNAVAILABLE"),
    Sent("headers without an end", b"HTTP/1.1 200 OK\r\nContent-", text="", error="MODEL_UNAVAILABLE"),
    Sent("a header beyond all bounds", response(STREAM, f"X-A: {'x' * 100_000}"), text="", error="MODEL_UNAVAILABLE"),
    Sent(
        "a redirect to nowhere",
        response(b"", "Content-Length: 0", status="HTTP/1.1 302 Found"),
        text="",
        error="MODEL_WRONG_ADDRESS",
    ),
    Sent(
        "a redirect to another address, which would get the conversation",
        response(
            b"", "Content-Length: 0", "Location: http://169.254.169.254/x", status="HTTP/1.1 307 Temporary Redirect"
        ),
        text="",
        error="MODEL_WRONG_ADDRESS",
    ),
    Sent(
        "an error in gzip",
        response(
            gzip.compress(b'{"error": {"message": "Invalid API key"}}'),
            "Content-Encoding: gzip",
            status="HTTP/1.1 400 Bad",
        ),
        text="",
        error="MODEL_KEY_REJECTED",
    ),
    Sent(
        "an error of an unknown status",
        response(b"", "Content-Length: 0", status="HTTP/1.1 599 Oh"),
        text="",
        error="MODEL_UNAVAILABLE",
    ),
]


async def seen(sent: Sent) -> str | None:
    """What is made of it otherwise than it should be."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(b"}")
        writer.write(sent.sent)
        await writer.drain()
        writer.close()

    events: list[ModelEvent] = []
    error: str | None = None
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Model(f"http://127.0.0.1:{port}/v1", "k", first_chunk_timeout=5, idle_timeout=5) as llm:
            try:
                await events_until_error(llm, asked(), events)
            except ModelError as told:
                error = told.code
    right = error == sent.error and text_of(events) == sent.text
    if right and error is None:
        right = finished(events).usage == USED
    return None if right else f"{sent.name}: {text_of(events)!r} {error}"


async def test_however_a_response_is_sent_it_is_read_or_is_an_error() -> None:
    assert [wrong for sent in RESPONSES if (wrong := await seen(sent)) is not None] == []
