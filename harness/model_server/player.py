"""Plays the steps of a plan as one HTTP response."""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import islice
from typing import Any

from harness.model_server.answers import (
    as_json,
    chunk,
    chunk_without_choices,
    error_response,
    last_user_text,
    usage,
    words_of,
)
from harness.model_server.pacer import Pacer
from harness.model_server.plan import Step
from harness.model_server.record import Record
from harness.model_server.reply import Framing, Reply

HTML = b"<!doctype html><html><body><h1>502 Bad Gateway</h1></body></html>"
CLOCK_PLACE = "@clock-of-nineteen-@"


class Gates:
    """Named gates that a step waits at until a test opens them; an open gate stays open."""

    def __init__(self) -> None:
        self._events: dict[str, asyncio.Event] = {}

    def gate(self, name: str) -> asyncio.Event:
        return self._events.setdefault(name, asyncio.Event())


class Player:
    def __init__(self, reply: Reply, record: Record, pacer: Pacer, gates: Gates) -> None:
        self._reply = reply
        self._record = record
        self._pacer = pacer
        self._gates = gates
        self._body: dict[str, Any] = record.body or {}
        self._request_id = f"chatcmpl-{record.number}"
        self._model = str(self._body.get("model") or "fake-model")
        self._finish_reason: str | None = "stop"
        self._usage: dict[str, Any] | None = None
        self._wants_usage = bool((self._body.get("stream_options") or {}).get("include_usage"))
        self._over = False

    async def play(self, steps: list[Step]) -> None:
        for step in steps:
            name = next(iter(step))
            await self._steps[name](self, step)
            if self._over:
                break
        else:
            await self._end()
        self._record.finished()

    def _begin(self) -> None:
        if not self._reply.began:
            self._reply.begin()
            self._reply.write_raw(self._chunked({"role": "assistant", "content": ""}))

    def _delta(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        return as_json(chunk(self._request_id, self._model, delta, finish_reason))

    def _chunked(self, delta: dict[str, Any]) -> bytes:
        return self._reply.chunked(self._reply.framed(self._delta(delta)))

    async def _send_delta(self, delta: dict[str, Any]) -> None:
        self._begin()
        await self._reply.event(self._delta(delta))
        self._record.token_sent()

    async def _end(self) -> None:
        self._begin()
        if self._finish_reason is not None:
            await self._reply.event(self._delta({}, self._finish_reason))
        if self._wants_usage:
            counted = self._usage or usage(self._body, self._record.tokens_sent)
            await self._reply.event(as_json(chunk_without_choices(self._request_id, self._model) | {"usage": counted}))
        await self._reply.event(b"[DONE]")
        await self._reply.end()

    # Content

    async def _text(self, step: Step) -> None:
        await self._send_delta({"content": step["text"]})

    async def _reasoning(self, step: Step) -> None:
        await self._send_delta({step.get("field", "reasoning_content"): step["reasoning"]})

    async def _refusal(self, step: Step) -> None:
        await self._send_delta({"refusal": step["refusal"]})

    async def _echo(self, step: Step) -> None:
        """Words of the request, which cost no token."""
        self._begin()
        await self._reply.event(self._delta({"content": step["echo"]}))

    async def _tool_call(self, step: Step) -> None:
        await self._send_delta({"tool_calls": [step["tool_call"]]})

    async def _any_delta(self, step: Step) -> None:
        await self._send_delta(step["delta"])

    async def _chunk(self, step: Step) -> None:
        self._begin()
        await self._reply.event(as_json(step["chunk"]))

    async def _raw(self, step: Step) -> None:
        self._begin()
        await self._reply.body(step["raw"].encode())

    async def _raw_base64(self, step: Step) -> None:
        self._begin()
        await self._reply.body(base64.b64decode(step["raw_base64"]))

    async def _comment(self, step: Step) -> None:
        self._begin()
        await self._reply.line(b": " + step["comment"].encode())

    async def _whitespace(self, step: Step) -> None:
        self._begin()
        for _ in range(step["blank"]):
            await self._reply.line(b"")

    async def _tokens(self, step: Step) -> None:
        """Many words, paced. The usual case writes precomputed bytes straight from the pacer's timer."""
        if not step["tokens"]:
            return
        self._begin()
        events = self._events_of(step)
        rate = float(step.get("rate", 200))
        if not self._reply.plain:
            for event in events:
                await self._reply.body(event())
                self._record.token_sent()
            return
        await self._paced(events, rate)

    async def _paced(self, events: list[Callable[[], bytes]], rate: float) -> None:
        reply, record, remaining = self._reply, self._record, iter(events)
        left = len(events)

        def send() -> bool:
            nonlocal left
            reply.write_raw(reply.chunked(next(remaining)()))
            record.token_sent()
            left -= 1
            return left > 0

        if rate > 0:
            await self._pacer.run(send, rate)
        else:
            while send():
                pass

    def _events_of(self, step: Step) -> list[Callable[[], bytes]]:
        """One function a token that gives its event at the moment of sending."""
        kind, count, skip = step.get("kind", "content"), int(step["tokens"]), int(step.get("skip", 0))
        if step.get("clock"):
            before, _, after = self._reply.framed(self._delta({kind: CLOCK_PLACE})).partition(CLOCK_PLACE.encode())
            return [lambda: b"%s%.9f %s" % (before, time.monotonic(), after)] * count
        words = step.get("words") or list(
            islice(words_of(step.get("of") or last_user_text(self._body)), skip, skip + count)
        )
        known = {word: partial(bytes, self._decorated(step, self._delta({kind: word}))) for word in set(words)}
        return [known[word] for word in words]

    def _decorated(self, step: Step, data: bytes) -> bytes:
        """The event, with what `empty_choices` and `comments` put before it."""
        event, newline = self._reply.framed(data), self._reply.framing.newline
        if step.get("empty_choices"):
            event = self._reply.framed(as_json(chunk_without_choices(self._request_id, self._model))) + event
        if step.get("comments"):
            event = newline.join([b": keep-alive", b"", b"", b"event: message", b"id: 7", b"retry: 10", event])
        return event

    # Waiting

    async def _stall(self, step: Step) -> None:
        await self._reply.flush()
        if step["stall"] == "ever":
            await asyncio.Event().wait()
        await asyncio.sleep(float(step["stall"]))

    async def _gate(self, step: Step) -> None:
        await self._reply.flush()
        await self._gates.gate(step["gate"]).wait()

    # Ends and faults

    async def _begin_step(self, _: Step) -> None:
        self._begin()

    async def _framing(self, step: Step) -> None:
        framing = step["framing"]
        self._reply.framing = Framing(
            framing.get("newline", "\n").encode(), framing.get("split", 0), framing.get("merge", 0)
        )

    async def _status(self, step: Step) -> None:
        self._over = True
        status, body = error_response(str(step["status"]))
        body = step.get("body", body)
        headers = {str(name): str(value) for name, value in (step.get("headers") or {}).items()}
        if step.get("retry_after") is not None:
            headers["retry-after"] = str(step["retry_after"])
        if isinstance(body, str):
            self._reply.whole(status, body.encode(), step.get("content_type", "text/plain"), headers)
        else:
            self._reply.json(body, status, headers)

    async def _finish(self, step: Step) -> None:
        self._finish_reason = step["finish"]

    async def _set_usage(self, step: Step) -> None:
        self._usage = step["usage"]
        self._wants_usage = self._usage is not None

    async def _error(self, step: Step) -> None:
        self._begin()
        self._over = True
        await self._reply.event(as_json({"error": step["error"]}))
        await self._reply.end()

    async def _cut(self, step: Step) -> None:
        self._begin()
        self._over = True
        await self._reply.flush()
        how = step["cut"]
        if how == "eof":
            await self._reply.end()
        elif how == "rst":
            self._reply.reset()
        else:
            if how == "utf8":
                torn = self._chunked({"content": "🌊"})
                self._reply.write_raw(torn[: torn.index("🌊".encode()) + 2])
            self._reply.close()

    async def _drop(self, _: Step) -> None:
        self._over = True
        self._reply.close()

    async def _garbage(self, step: Step) -> None:
        self._over = True
        kind = step["garbage"]
        if kind == "html":
            self._reply.whole(200, HTML, "text/html", {})
            return
        self._begin()
        if kind == "chunk":
            await self._reply.flush()
            self._reply.write_raw(b"zzzz\r\ndata: {}\r\n")
            self._reply.close()
        else:
            await self._reply.event(b'{"choices": [{"delta": {"cont' if kind == "json" else b'["not", "a chunk"]')
            await self._reply.end()

    _steps: dict[str, Callable[["Player", Step], Awaitable[None]]] = {  # noqa: RUF012
        "text": _text,
        "reasoning": _reasoning,
        "refusal": _refusal,
        "echo": _echo,
        "tool_call": _tool_call,
        "tokens": _tokens,
        "delta": _any_delta,
        "chunk": _chunk,
        "raw": _raw,
        "raw_base64": _raw_base64,
        "comment": _comment,
        "blank": _whitespace,
        "stall": _stall,
        "gate": _gate,
        "begin": _begin_step,
        "framing": _framing,
        "status": _status,
        "finish": _finish,
        "usage": _set_usage,
        "error": _error,
        "cut": _cut,
        "drop": _drop,
        "garbage": _garbage,
    }
