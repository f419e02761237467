"""What the way through gateway, Postgres, Redis and worker adds to the model's own time to its first token.

Fifty clients each begin a turn, read it to its end, and begin the next, so that fifty turns run at any moment. A turn's
overhead is the time from the POST to the first text chunk at the client, less the time that the model server had the
request before it sent its first token.
"""

import asyncio
import json
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from bench.worker.stage import Stage, services
from harness.clients.chat import Chat
from harness.model_server.record import Record

CLIENTS = 50
TOKENS, RATE = 60, 30
_FIRST_TEXT = b'"text-delta"'
_WARM_UP_TURNS = 1


@dataclass(frozen=True)
class Overhead:
    """In milliseconds: of all of it, and at the median of its two halves."""

    p50_ms: float
    p99_ms: float
    to_model_p50_ms: float
    from_model_p50_ms: float


@dataclass(frozen=True)
class Turn:
    text: str
    posted_at: float
    first_text_at: float


async def measure(stage: Stage, turns: int, runs: int) -> list[Overhead]:
    async with services(stage, CLIENTS * 2) as (url, _), stage.model() as model:
        overheads = []
        for run in range(runs):
            await model.reset()
            sessions = await _open_sessions(url)
            done = await asyncio.gather(
                *(_client(url, session, number, turns, run) for number, session in enumerate(sessions))
            )
            records = {record.body["messages"][-1]["content"]: record for record in await model.requests("clients")}
            overheads.append(_overhead([turn for of_client in done for turn in of_client], records))
        return overheads


async def _open_sessions(url: str) -> list[str]:
    async with Chat(url) as chat:
        return [await chat.open_session() for _ in range(CLIENTS)]


async def _client(url: str, session_id: str, number: int, turns: int, run: int) -> list[Turn]:
    """Turns one after the other; the first ones only bring the others out of step."""
    await asyncio.sleep(number / CLIENTS * TOKENS / RATE)
    done = []
    for turn in range(_WARM_UP_TURNS + turns):
        text = f"clients {run} {number} {turn} [[tokens={TOKENS} rate={RATE}]]"
        done.append(await _turn(url, session_id, text))
    return done[_WARM_UP_TURNS:]


async def _turn(url: str, session_id: str, text: str) -> Turn:
    address = urlsplit(url)
    body = json.dumps({"id": f"m-{time.monotonic_ns()}", "message": text}).encode()
    head = (
        f"POST /api/chat/sessions/{session_id}/stream HTTP/1.1\r\nhost: {address.netloc}\r\nconnection: close\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=1 << 20)
    posted_at = time.monotonic()
    writer.write(head.encode() + body)
    await reader.readuntil(_FIRST_TEXT)
    first_text_at = time.monotonic()
    rest = await reader.read()
    writer.close()
    if b"[DONE]" not in rest:
        raise RuntimeError(f"a turn did not end well: {rest[-300:]!r}")
    return Turn(text, posted_at, first_text_at)


def _overhead(turns: list[Turn], records: dict[str, Record]) -> Overhead:
    totals, to_model, from_model = [], [], []
    for turn in turns:
        record = records[turn.text]
        assert record.first_token_at is not None
        to_model.append(record.began_at - turn.posted_at)
        from_model.append(turn.first_text_at - record.first_token_at)
        totals.append(to_model[-1] + from_model[-1])
    return Overhead(
        p50_ms=1000 * _share(totals, 0.5),
        p99_ms=1000 * _share(totals, 0.99),
        to_model_p50_ms=1000 * _share(to_model, 0.5),
        from_model_p50_ms=1000 * _share(from_model, 0.5),
    )


def _share(values: list[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]
