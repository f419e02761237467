"""The model server, spoken to through openai's client: any server with the OpenAI chat API, streamed.

Guarantees
- A stream's last event is one `Finished`, or it raises a ModelError: an answer that looks whole is whole.
- What arrives together is handed on together, at once; nothing is held back, no event is empty.
- No single event, however large or odd, holds up the event loop; bodies that are read whole have a limit.
- Leaving the context closes the request to the server at once, also while the server is silent.
- Nothing is sent twice: the SDK's own retries are off. Retries are in retry.py. Only a request that was refused for
  something that can be left out or said otherwise is sent again at once, without it (lessons.py).
- What is sent fits the server (history.py, dialects.py); what comes in is clean (clean_text.py).
- How an answer is read is in answer_stream.py, how a server is reached in server_client.py.

It does not promise that tool arguments are JSON.

The SDK builds the request, sends it and turns error responses into exceptions. Its decoding of streams costs more than
everything else in this process together, so the body is read raw, over aiohttp's parser (docs/adr/0004).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from typing import Self

import httpx2

from sluiceway_llm.asking.asker import UserAs, named
from sluiceway_llm.asking.chat_request import chat_request
from sluiceway_llm.asking.continuation import PrefixDialect, Seam
from sluiceway_llm.asking.manners import Manners
from sluiceway_llm.asking.server_options import ServerOptions
from sluiceway_llm.calling import listing
from sluiceway_llm.calling.answer_stream import AnswerStream, body_of
from sluiceway_llm.calling.circuit import AskingModel, Circuits
from sluiceway_llm.calling.faults import request_id_of
from sluiceway_llm.calling.line import Budget
from sluiceway_llm.calling.responses import ResponseReader
from sluiceway_llm.calling.server_client import ServerClient
from sluiceway_llm.model_errors import ModelError
from sluiceway_llm.model_events import ModelEvent, ModelRequest, Reached
from sluiceway_llm.reading.chunks import ChunkReader
from sluiceway_llm.settings import ModelSettings


class Model:
    """A model server. Open with `async with`; one for the process, with as many streams at once as `max_connections`.

    Timeouts are in seconds: to connect; until the first event of an answer; and between bytes after that.
    `fallback`: the model that is asked where another one is away. `user`: how the server is told who asks.
    `continuation`: how the server is asked to continue an answer; None: it cannot. `options`: what is known of the
    server beforehand, and `model_options` of some of its models. `budget`: how often its models may be asked; None:
    as often as one likes.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        connect_timeout: float = 5.0,
        first_chunk_timeout: float = 120.0,
        idle_timeout: float = 120.0,
        max_connections: int = 1000,
        continuation: PrefixDialect | None = None,
        options: ServerOptions | None = None,
        model_options: Mapping[str, ServerOptions] | None = None,
        fallback: str | None = None,
        user: UserAs = "hash",
        budget: Budget | None = None,
    ) -> None:
        self._server = ServerClient(
            base_url,
            api_key,
            connect_timeout=connect_timeout,
            max_connections=max_connections,
            options=options,
            model_options=model_options,
        )
        self._first_chunk_timeout = first_chunk_timeout
        self._idle_timeout = idle_timeout
        self._continuation = continuation
        self._circuits = Circuits()
        self.fallback = fallback
        self.budget = budget
        self._user = user
        self._log = logging.getLogger(__name__)

    @classmethod
    def from_settings(
        cls,
        settings: ModelSettings,
        *,
        max_connections: int,
        continuation: PrefixDialect | None = None,
        budget: Budget | None = None,
    ) -> Self:
        return cls(
            settings.openai_base_url,
            settings.openai_api_key.get_secret_value(),
            connect_timeout=settings.model_connect_seconds,
            first_chunk_timeout=settings.model_first_chunk_seconds,
            idle_timeout=settings.model_idle_seconds,
            max_connections=max_connections,
            continuation=continuation,
            options=settings.server_options,
            model_options=settings.model_options,
            fallback=settings.model_fallback,
            user=settings.model_user,
            budget=budget,
        )

    @property
    def continues(self) -> bool:
        """Whether a request may have a `prefix`."""
        return self._continuation is not None

    @property
    def reattaches(self) -> bool:
        """Whether a request may say what was `reached` of an answer that the server makes already."""
        return False

    def asking(self, model: str) -> AskingModel:
        """A call is about to begin, of whoever tries again (retry.py). Raises ModelAway where it is not worth it."""
        return self._circuits.ask(self._server.address_of(model), model)

    def falls_back(self, model: str, error: ModelError) -> None:
        """The fallback model is asked instead of this one."""
        self._log.warning("model_fallback model=%s fallback=%s code=%s", model, self.fallback, error.code)

    def told(self) -> dict[str, object]:
        """By model: its circuit where that is not closed, and what is left out for it; for whoever operates this."""
        found: dict[str, object] = {}
        for model, manners in sorted(self._server.met.items()):
            about: dict[str, object] = {}
            if (circuit := self._circuits.closed_way(self._server.address_of(model), model)) is not None:
                about |= {"circuit": circuit.state, "asked_again_seconds": round(circuit.asked_again_seconds, 1)}
            if learned := manners.lessons.told():
                about["learned"] = learned
            if about:
                found[model] = about
        return found

    async def abandon(self, reached: Reached) -> None:
        """Nobody will read on in this answer: the server need not continue it. Never raises ModelError."""

    async def __aenter__(self) -> Self:
        await self._server.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.__aexit__()

    async def probe(self) -> None:
        """Is there a server that would take our requests? Raises ModelUnavailable or ModelRejected."""
        await listing.probe(self._server)

    async def windows(self) -> dict[str, int]:
        """The windows that the server tells, by model, in tokens; most tell none. Raises ModelError."""
        return await listing.windows(self._server)

    def manners_of(self, model: str) -> Manners:
        """How this model is spoken to. What is learned of it stays for the process."""
        return self._server.manners_of(model)

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[AsyncIterator[list[ModelEvent]]]:
        """The answer, as lists of events: all events of one read. No list is empty. Raises ModelError."""
        seam = Seam(self._continuation, request.prefix) if self._continuation and request.prefix else None
        manners = self.manners_of(request.model)
        names = [str((tool.get("function") or {}).get("name")) for tool in request.tools or ()]
        reader = ChunkReader(
            self._server.secret_of(request.model),
            tool_names=names,
            by=manners.by,
            continues=bool(request.prefix),
            thinks_first=manners.thinks_first,
            of_json=request.answer_format is not None,
        )
        try:
            async with self._opened(request, reader, seam) as batches:
                yield batches
        finally:
            manners.thinks_first = reader.thinks_first

    @asynccontextmanager
    async def _opened(
        self, request: ModelRequest, reader: ChunkReader | ResponseReader, seam: Seam | None = None
    ) -> AsyncIterator[AsyncIterator[list[ModelEvent]]]:
        deadline = asyncio.get_running_loop().time() + self._first_chunk_timeout
        request = replace(request, user=named(request.user, self._user))
        answer = AnswerStream(reader, seam, first_seconds=self._first_chunk_timeout, idle_seconds=self._idle_timeout)
        async with AsyncExitStack() as stack:
            with self._server.errors(request.model):
                async with asyncio.timeout_at(deadline):
                    response = await self._send(request)
                    body = await stack.enter_async_context(body_of(response))
            batches = answer.batches(body, deadline, request_id_of(response.headers))
            yield await stack.enter_async_context(aclosing(batches))

    async def _send(self, request: ModelRequest) -> httpx2.Response:
        """Not `chat.completions.create`: that checks all messages against type hints, 0.15 ms each."""
        manners = self.manners_of(request.model)
        headers, path = manners.headers(request), "/chat/completions"
        response = await self._server.streamed(
            request.model, path, headers, lambda: chat_request(request, manners, self._continuation)
        )
        manners.answered(response.headers)
        return response
