"""The model server, spoken to through openai's client: any server with the OpenAI chat API, streamed.

Guarantees
- A stream's last event is one `Finished`, or it raises a ModelError: an answer that looks whole is whole.
- What arrives together is handed on together, at once; nothing is held back, no event is empty.
- Leaving the context closes the request to the server at once, also while the server is silent.
- Nothing is sent twice: the SDK's own retries are off. Retries are in retry.py.

It does not promise that the server's tokens are well-formed text or that tool arguments are JSON.

The SDK builds the request, sends it and turns error responses into exceptions. Its decoding of streams costs more than
everything else in this process together, so the body is read raw, over aiohttp's parser (docs/adr/0004).
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import httpx2
import openai

from sluiceway_llm.chunks import ChunkReader
from sluiceway_llm.continuation import PrefixDialect, Seam, continuing
from sluiceway_llm.model_errors import (
    ModelCut,
    ModelDropped,
    ModelError,
    ModelGarbage,
    ModelKeyRejected,
    ModelRejected,
    ModelTimeout,
    ModelUnavailable,
    ModelWrongAddress,
    error_of_status,
)
from sluiceway_llm.model_events import (
    Finished,
    ModelEvent,
    ModelRequest,
    Reached,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from sluiceway_llm.responses import ResponseReader
from sluiceway_llm.retry_after import retry_after_seconds
from sluiceway_llm.settings import ModelSettings
from sluiceway_llm.sse_lines import EventTooLarge, SseDecoder

__all__ = [
    "Finished",
    "Model",
    "ModelEvent",
    "ModelRequest",
    "Reached",
    "ReasoningDelta",
    "RefusalDelta",
    "TextDelta",
    "ToolCallDelta",
    "Usage",
]

_OPENAI = "https://api.openai.com/v1"
_NO_KEY = "not-needed"
HEADERS = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
UNREAD: Any = {"stream": True, "stream_cls": None}
"""Makes `post` give the response before its body was read; the types of the SDK know only its own stream classes."""
_KEEPALIVE_SECONDS = 30.0
_PROBE_SECONDS = 10.0
_TRAILER_SECONDS = 5.0
"""How long usage and `[DONE]` may come after the finish_reason."""
_DRAIN_SECONDS = 0.1
"""How long to wait for the end of the body after `[DONE]`, so that the connection can be used again."""
_TRANSPORT_ERRORS = (httpx2.HTTPError, httpx2.InvalidURL, aiohttp.ClientError, OSError)


class Model:
    """A model server. Open with `async with`; one for the process, with as many streams at once as `max_connections`.

    Timeouts are in seconds: to connect; until the first event of an answer; and between bytes after that.
    `continuation`: how the server is asked to go on with an answer; None: it cannot.
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
    ) -> None:
        self._base_url = base_url or _OPENAI
        self._secret = api_key
        self._connect_timeout = connect_timeout
        self._first_chunk_timeout = first_chunk_timeout
        self._idle_timeout = idle_timeout
        self._max_connections = max_connections
        self._continuation = continuation
        self._resources = AsyncExitStack()
        self._client: openai.AsyncOpenAI

    @classmethod
    def from_settings(
        cls, settings: ModelSettings, *, max_connections: int, continuation: PrefixDialect | None = None
    ) -> Self:
        return cls(
            settings.openai_base_url,
            settings.openai_api_key.get_secret_value(),
            connect_timeout=settings.model_connect_seconds,
            first_chunk_timeout=settings.model_first_chunk_seconds,
            idle_timeout=settings.model_idle_seconds,
            max_connections=max_connections,
            continuation=continuation,
        )

    @property
    def continues(self) -> bool:
        """Whether a request may have a `prefix`."""
        return self._continuation is not None

    @property
    def reattaches(self) -> bool:
        """Whether a request may say what was `reached` of an answer that the server makes already."""
        return False

    async def abandon(self, reached: Reached) -> None:
        """Nobody will read on in this answer: the server need not go on with it. Never raises ModelError."""

    async def __aenter__(self) -> Self:
        # The probe must not wait for a stream to end.
        limits = httpx2.Limits(max_connections=self._max_connections + 1, keepalive_expiry=_KEEPALIVE_SECONDS)
        # Reads have deadlines of our own, so that the first may differ from the others.
        timeout = httpx2.Timeout(None, connect=self._connect_timeout)
        http = openai.DefaultAioHttpClient(limits=limits, timeout=timeout)
        client = openai.AsyncOpenAI(
            base_url=self._base_url, api_key=self._secret or _NO_KEY, max_retries=0, http_client=http, timeout=timeout
        )
        self._client = await self._resources.enter_async_context(client)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._resources.aclose()

    async def probe(self) -> None:
        """Is there a server that would take our requests? Raises ModelUnavailable or ModelRejected."""
        with self._errors():
            async with asyncio.timeout(_PROBE_SECONDS):
                try:
                    response = await self._client.get("/models", options=self._options({}), cast_to=httpx2.Response)
                except openai.APIStatusError as error:
                    self._judge_probe(error)
                    return
        if response.headers.get("content-type", "").startswith("text/html"):
            raise ModelWrongAddress

    def _judge_probe(self, error: openai.APIStatusError) -> None:
        """Not every server lists its models, and one that counts requests is there."""
        if error.status_code in (401, 403):
            raise ModelKeyRejected from error
        if error.status_code >= 500:
            raise ModelUnavailable from error

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[AsyncIterator[list[ModelEvent]]]:
        """The answer, as lists of events: all events of one read. No list is empty. Raises ModelError."""
        seam = Seam(self._continuation, request.prefix) if self._continuation and request.prefix else None
        async with self._opened(request, ChunkReader(self._secret), seam) as batches:
            yield batches

    @asynccontextmanager
    async def _opened(
        self, request: ModelRequest, reader: ChunkReader | ResponseReader, seam: Seam | None = None
    ) -> AsyncIterator[AsyncIterator[list[ModelEvent]]]:
        deadline = asyncio.get_running_loop().time() + self._first_chunk_timeout
        async with AsyncExitStack() as stack:
            with self._errors():
                async with asyncio.timeout_at(deadline):
                    body = await stack.enter_async_context(self._body(request))
            yield await stack.enter_async_context(aclosing(self._batches(body, deadline, reader, seam)))

    @asynccontextmanager
    async def _body(self, request: ModelRequest) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        """The response's bytes. The connection is closed on leaving, or kept for others when the body was whole."""
        response = await self._send(request)
        try:
            async with aclosing(response.aiter_bytes()) as body:
                yield body
        finally:
            await response.aclose()

    async def _send(self, request: ModelRequest) -> httpx2.Response:
        """Not `chat.completions.create`: that walks through all messages with type hints in hand, 0.15 ms each."""
        response: httpx2.Response = await self._client.post(
            "/chat/completions",
            body=self._json(request),
            options=self._options({**HEADERS, **request.headers}),
            cast_to=httpx2.Response,
            **UNREAD,
        )
        return response

    def _options(self, headers: dict[str, str]) -> Any:
        """As the SDK's own methods have them: the key goes along, an administrator's key from the environment not."""
        return {"headers": headers, "security": {"bearer_auth": True}}

    def _json(self, request: ModelRequest) -> dict[str, Any]:
        limit_name = "max_completion_tokens" if self._is_openai else "max_tokens"
        optional = {
            "tools": request.tools,
            "tool_choice": request.tool_choice,
            "user": request.user,
            "temperature": request.temperature,
            limit_name: request.max_tokens,
        }
        return {
            "model": request.model,
            "messages": request.messages,
            "stream": True,
            "stream_options": {"include_usage": True},
            **{name: value for name, value in optional.items() if value is not None},
            **self._beginning(request),
            **request.extra_body,
        }

    def _beginning(self, request: ModelRequest) -> dict[str, Any]:
        if not request.prefix:
            return {}
        if self._continuation is None:
            raise ValueError("this server is not known to go on with an answer")
        return continuing(self._continuation, request.messages, request.prefix)

    @property
    def _is_openai(self) -> bool:
        """OpenAI's newer models refuse `max_tokens`; most other servers know nothing else."""
        return (urlsplit(self._base_url).hostname or "").endswith("openai.com")

    async def _batches(
        self,
        body: AsyncGenerator[bytes, None],
        deadline: float,
        chunks: ChunkReader | ResponseReader,
        seam: Seam | None,
    ) -> AsyncGenerator[list[ModelEvent], None]:
        decoder, loop = SseDecoder(), asyncio.get_running_loop()
        wait = self._first_chunk_timeout
        received_any = False
        while not chunks.over:
            try:
                async with asyncio.timeout_at(deadline):
                    received = await anext(body, b"")
            except (TimeoutError, *_TRANSPORT_ERRORS) as error:
                if chunks.complete:
                    break  # all of the answer is there; only its usage is not
                raise ModelTimeout if isinstance(error, TimeoutError) else ModelCut from error
            if not received:
                break
            received_any = True
            events, error_told = _read(received, decoder, chunks)
            if events:
                wait = self._idle_timeout
                shown = seam.read(events) if seam is not None else events
                if shown:
                    yield shown
            if error_told is not None:
                raise error_told
            deadline = loop.time() + (min(wait, _TRAILER_SECONDS) if chunks.complete else wait)
        if received_any and not (chunks.seen_chunk or chunks.over):
            raise ModelGarbage
        end: list[ModelEvent] = [chunks.finished()]
        yield seam.read(end) if seam is not None else end
        if chunks.over:
            await _drain(body)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Whatever SDK and transport raise before the stream began, as ModelError."""
        try:
            yield
        except ModelError:
            raise
        except openai.APIStatusError as error:
            headers = error.response.headers
            raise error_of_status(error.status_code, error.body, self._secret, retry_after_seconds(headers)) from error
        except TimeoutError as error:
            raise ModelTimeout from error
        except httpx2.InvalidURL as error:
            raise ModelWrongAddress from error
        except (openai.APIConnectionError, *_TRANSPORT_ERRORS) as error:
            if isinstance(error.__cause__, (httpx2.InvalidURL, httpx2.UnsupportedProtocol)):
                raise ModelWrongAddress from error
            raise (ModelDropped if _was_dropped(error) else ModelUnavailable) from error
        except openai.OpenAIError as error:
            raise ModelRejected from error


def _was_dropped(error: BaseException) -> bool:
    """Whether a connection ended before the answer began. SDK and httpx2 each wrap aiohttp's error once."""
    cause = error.__cause__ and error.__cause__.__cause__
    dropped = isinstance(cause, (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError))
    return dropped and not isinstance(cause, aiohttp.ClientConnectorError)


def _read(
    received: bytes, decoder: SseDecoder, chunks: ChunkReader | ResponseReader
) -> tuple[list[ModelEvent], ModelError | None]:
    """The events in these bytes, and the error that ends them: what came before an error is not lost."""
    events: list[ModelEvent] = []
    try:
        for data in decoder.feed(received):
            chunks.read(data, events)
    except ModelError as error:
        return events, error
    except EventTooLarge:
        return events, ModelGarbage()
    return events, None


async def _drain(body: AsyncGenerator[bytes, None]) -> None:
    """Read on to the end of the body, which most often is there already."""
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while await anext(body, b""):
                pass
    except (TimeoutError, *_TRANSPORT_ERRORS):
        pass  # the connection is closed instead of kept
