"""An answer as it arrives: bytes to lists of events, until the last one or a ModelError.

Guarantees
- What arrives together is handed on together, at once. No list is empty, and what came before an error is handed on.
- The last event is `Finished`, or it raises a ModelError: an answer that looks whole is whole.
- No event, however large or odd, holds up the event loop, nor do many of them, see pace.py.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, closing

import httpx2

from sluiceway_llm.asking.continuation import Seam
from sluiceway_llm.calling.faults import TRANSPORT_ERRORS
from sluiceway_llm.calling.pace import Pace
from sluiceway_llm.calling.read_deadline import ReadDeadline
from sluiceway_llm.calling.responses import ResponseReader
from sluiceway_llm.model_errors import ModelCut, ModelError, ModelGarbage, ModelTimeout
from sluiceway_llm.model_events import ModelEvent
from sluiceway_llm.reading.chunks import ChunkReader
from sluiceway_llm.reading.sse_lines import EventTooLarge, SseDecoder

_TRAILER_SECONDS = 5.0
"""How long usage and `[DONE]` may come after the finish_reason."""
_LIFE_BYTES = 512
"""So many at once are a part of something long."""
_DRAIN_SECONDS = 0.1
"""How long to wait for the end of the body after `[DONE]`, so that the connection can be used again."""
_PIECE_BYTES = 16 * 1024
_QUICKLY_READ_BYTES = 32 * 1024
"""An event of a token has some hundred bytes; one of this size takes some ms at worst."""


class AnswerStream:
    """`first_seconds`: until its first event; `idle_seconds`: between lines after that. `seam`: where it continues what
    was said before."""

    def __init__(
        self, chunks: ChunkReader | ResponseReader, seam: Seam | None, *, first_seconds: float, idle_seconds: float
    ) -> None:
        self._chunks = chunks
        self._seam = seam
        self._first_seconds = first_seconds
        self._idle_seconds = idle_seconds

    async def batches(
        self, body: AsyncGenerator[bytes, None], deadline: float, request_id: str | None
    ) -> AsyncGenerator[list[ModelEvent], None]:
        chunks, decoder, loop, pace, seam = self._chunks, SseDecoder(), asyncio.get_running_loop(), Pace(), self._seam
        wait = self._first_seconds
        received_any = False
        broken: ModelError | None = None
        with closing(ReadDeadline()) as reading:
            while not chunks.over and broken is None:
                pace.waits()
                try:
                    with reading.until(deadline):
                        received = await anext(body, b"")
                except (TimeoutError, *TRANSPORT_ERRORS) as error:
                    if chunks.complete:
                        break  # all of the answer is there; only its usage is not
                    broken = ModelTimeout() if isinstance(error, TimeoutError) else ModelCut()
                    broken.__cause__ = error
                    break
                if not received:
                    break
                received_any = True
                pace.reads()
                events, broken = await _read(received, decoder, chunks, pace)
                if events:
                    wait = self._idle_seconds
                    shown = events if seam is None else seam.read(events)
                    if shown:
                        yield shown
                if _is_alive(received):
                    deadline = loop.time() + (min(wait, _TRAILER_SECONDS) if chunks.complete else wait)
        end, broken = await _end(chunks, decoder, broken, received_any)
        if end := end if seam is None else seam.read(end):
            yield end
        if broken is not None:
            broken.request_id = request_id
            raise broken
        if chunks.over:
            await _drain(body)


def _is_alive(received: bytes) -> bool:
    """A comment says that a server thinks. A byte now and then of a line that never ends says nothing."""
    return len(received) >= _LIFE_BYTES or b"\n" in received or b"\r" in received


@asynccontextmanager
async def body_of(response: httpx2.Response) -> AsyncIterator[AsyncGenerator[bytes, None]]:
    """The response's bytes. The connection is closed on leaving, or kept for others when the body was whole."""
    try:
        # What is not compressed needs none of the layers that would undo it.
        plain = response.headers.get("content-encoding", "identity").strip().lower() == "identity"
        async with aclosing(response.aiter_raw() if plain else response.aiter_bytes()) as body:
            yield body
    finally:
        await response.aclose()


async def _read(
    received: bytes, decoder: SseDecoder, chunks: ChunkReader | ResponseReader, pace: Pace
) -> tuple[list[ModelEvent], ModelError | None]:
    """The events in these bytes, and the error that ends them: what came before an error is not lost."""
    events: list[ModelEvent] = []
    try:
        for begin in range(0, len(received), _PIECE_BYTES):
            found = decoder.feed(received[begin : begin + _PIECE_BYTES])
            for data in found:
                await _take(chunks.read, data, events)
                if pace.kept_too_long():
                    await pace.leave()
            if not found and pace.kept_too_long():
                await pace.leave()
    except ModelError as error:
        return events, error
    except (EventTooLarge, RecursionError):
        return events, ModelGarbage()
    return events, None


async def _take(read: Callable[[bytes, list[ModelEvent]], None], data: bytes, events: list[ModelEvent]) -> None:
    """Read it, where it is large in a thread: other turns of this process go on."""
    if len(data) <= _QUICKLY_READ_BYTES:
        read(data, events)
    else:
        await asyncio.to_thread(read, data, events)


async def _end(
    chunks: ChunkReader | ResponseReader, decoder: SseDecoder, broken: ModelError | None, received_any: bool
) -> tuple[list[ModelEvent], ModelError | None]:
    """What was held back, and `Finished`; or what came, and the error that the answer ended with."""
    events: list[ModelEvent] = []
    try:
        if broken is None:
            await _take(chunks.read_body, decoder.left, events)
            if received_any and not (chunks.seen_chunk or chunks.complete):
                raise chunks.unended(ModelGarbage())
    except ModelError as error:
        broken = error
    except RecursionError:
        broken = ModelGarbage()
    chunks.let_go(events)
    if broken is None:
        try:
            events.append(chunks.finished())
        except ModelError as error:
            broken = error
    return events, broken


async def _drain(body: AsyncGenerator[bytes, None]) -> None:
    """Read on to the end of the body, which most often is there already."""
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while await anext(body, b""):
                pass
    except (TimeoutError, *TRANSPORT_ERRORS):
        pass  # the connection is closed instead of kept
