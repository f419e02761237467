"""The model server, spoken to through openai's client: any server with the OpenAI chat API, streamed.

Guarantees
- A stream's last event is one `Finished`, or it raises a ModelError: an answer that looks whole is whole.
- What arrives together is handed on together, at once; nothing is held back, no event is empty.
- No single event, however large or odd, holds up the event loop; bodies that are read whole have a limit.
- Leaving the context closes the request to the server at once, also while the server is silent.
- Nothing is sent twice: the SDK's own retries are off. Retries are in retry.py. Only a request that was refused for
  something that can be left out or said otherwise is sent again at once, without it (lessons.py).
- What is sent fits the server (history.py, dialects.py); what comes in is clean (clean_text.py).

It does not promise that tool arguments are JSON.

The SDK builds the request, sends it and turns error responses into exceptions. Its decoding of streams costs more than
everything else in this process together, so the body is read raw, over aiohttp's parser (docs/adr/0004).
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import cache
from typing import Any, Self

import aiohttp
import httpx2
import openai

from sluiceway_llm.asking.answer_format import RESPONSE_FORMAT, response_format
from sluiceway_llm.asking.asker import UserAs, named
from sluiceway_llm.asking.continuation import PrefixDialect, Seam, continuing
from sluiceway_llm.asking.dialects import DIALECTS, dialect_of_answer
from sluiceway_llm.asking.manners import Body, Manners
from sluiceway_llm.asking.server_options import ServerOptions
from sluiceway_llm.calling.circuit import AskingModel, Circuits
from sluiceway_llm.calling.line import Budget
from sluiceway_llm.calling.responses import ResponseReader
from sluiceway_llm.calling.retry_after import retry_after_seconds
from sluiceway_llm.calling.whole_bodies import MAX_ERROR_BYTES, bounded
from sluiceway_llm.clean_text import label_of
from sluiceway_llm.error_words import told_of
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
    Provided,
    Reached,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from sluiceway_llm.reading.chunks import ChunkReader
from sluiceway_llm.reading.loose_json import NotJson, loose_values
from sluiceway_llm.reading.sse_lines import EventTooLarge, SseDecoder
from sluiceway_llm.settings import ModelSettings
from sluiceway_llm.windows import window_told, windows_told

__all__ = [
    "Finished",
    "Model",
    "ModelEvent",
    "ModelRequest",
    "Provided",
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
# What is read in a thread. An event of a token has some hundred bytes; one of this size takes some ms at worst.
_QUICKLY_READ_BYTES = 32 * 1024
"""How long to wait for the end of the body after `[DONE]`, so that the connection can be used again."""
_MOST_LESSONS = 12
"""Of one request: more would be a server that finds a new reason each time."""
_REQUEST_IDS = ("x-request-id", "request-id", "apim-request-id", "x-amzn-requestid", "cf-ray")
_TRANSPORT_ERRORS = (httpx2.HTTPError, httpx2.InvalidURL, aiohttp.ClientError, OSError)


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
        self._base_url = base_url or _OPENAI
        self._secret = api_key
        self._connect_timeout = connect_timeout
        self._first_chunk_timeout = first_chunk_timeout
        self._idle_timeout = idle_timeout
        self._max_connections = max_connections
        self._continuation = continuation
        self._server_options = options or ServerOptions()
        self._model_options = model_options or {}
        self._manners: dict[str, Manners] = {}
        self._circuits = Circuits()
        self.fallback = fallback
        self.budget = budget
        self._user = user
        self._log = logging.getLogger(__name__)
        self._resources = AsyncExitStack()
        self._client: openai.AsyncOpenAI
        self._clients: dict[str, openai.AsyncOpenAI] = {}

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
        return self._circuits.ask(self._server_of(model), model)

    def falls_back(self, model: str, error: ModelError) -> None:
        """The fallback model is asked instead of this one."""
        self._log.warning("model_fallback model=%s fallback=%s code=%s", model, self.fallback, error.code)

    def told(self) -> dict[str, object]:
        """By model: its circuit where that is not closed, and what is left out for it; for whoever operates this."""
        found: dict[str, object] = {}
        for model, manners in sorted(self._manners.items()):
            about: dict[str, object] = {}
            if (circuit := self._circuits.closed_way(self._server_of(model), model)) is not None:
                about |= {"circuit": circuit.state, "asked_again_seconds": round(circuit.asked_again_seconds, 1)}
            if learned := manners.lessons.told():
                about["learned"] = learned
            if about:
                found[model] = about
        return found

    async def abandon(self, reached: Reached) -> None:
        """Nobody will read on in this answer: the server need not continue it. Never raises ModelError."""

    async def __aenter__(self) -> Self:
        # The probe must not wait for a stream to end.
        limits = httpx2.Limits(max_connections=self._max_connections + 1, keepalive_expiry=_KEEPALIVE_SECONDS)
        # Reads have deadlines of our own, so that the first may differ from the others.
        timeout = httpx2.Timeout(None, connect=self._connect_timeout)
        http = openai.DefaultAioHttpClient(
            limits=limits, timeout=timeout, verify=_trusted(), event_hooks={"response": [bounded]}
        )
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

    async def windows(self) -> dict[str, int]:
        """The windows that the server tells, by model, in tokens; most tell none. Raises ModelError."""
        with self._errors():
            async with asyncio.timeout(_PROBE_SECONDS):
                response = await self._client.get("/models", options=self._options({}), cast_to=httpx2.Response)
                told = windows_told(_content_of(response))
                if told or dialect_of_answer(response.headers) is not DIALECTS["llama.cpp"]:
                    return told
                # Older ones say it only there, which is beside /v1.
                props = await self._client.get(
                    f"{self._base_url.rstrip('/').removesuffix('/v1')}/props",
                    options=self._options({}),
                    cast_to=httpx2.Response,
                )
        content = _content_of(props)
        tokens = window_told(content) if isinstance(content, dict) else None
        return {} if tokens is None else dict.fromkeys(_models_of(_content_of(response)), tokens)

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
        manners = self.manners_of(request.model)
        names = [str((tool.get("function") or {}).get("name")) for tool in request.tools or ()]
        reader = ChunkReader(
            self._secret_of(request.model),
            tool_names=names,
            by=manners.by,
            continues=bool(request.prefix),
            thinks_first=manners.thinks_first,
        )
        try:
            async with self._opened(request, reader, seam) as batches:
                yield batches
        finally:
            manners.thinks_first = reader.thinks_first

    def manners_of(self, model: str) -> Manners:
        """How this model is spoken to. What is learned of it stays for the process."""
        if model not in self._manners:
            options = self._server_options.with_(self._model_options.get(model, ServerOptions()))
            self._manners[model] = Manners(options.base_url or self._base_url, model, options)
        return self._manners[model]

    def _server_of(self, model: str) -> str:
        return self.manners_of(model).options.base_url or self._base_url

    def _secret_of(self, model: str) -> str:
        """Another server's key is its own, or none: ours is not for it."""
        options = self.manners_of(model).options
        if options.api_key is not None:
            return options.api_key.get_secret_value()
        return self._secret if options.base_url is None else ""

    def _client_of(self, model: str) -> openai.AsyncOpenAI:
        options = self.manners_of(model).options
        if options.base_url is None and options.api_key is None:
            return self._client
        if model not in self._clients:
            key = self._secret_of(model) or _NO_KEY
            self._clients[model] = self._client.with_options(base_url=self._server_of(model), api_key=key)
        return self._clients[model]

    @asynccontextmanager
    async def _opened(
        self, request: ModelRequest, reader: ChunkReader | ResponseReader, seam: Seam | None = None
    ) -> AsyncIterator[AsyncIterator[list[ModelEvent]]]:
        deadline = asyncio.get_running_loop().time() + self._first_chunk_timeout
        request = replace(request, user=named(request.user, self._user))
        async with AsyncExitStack() as stack:
            with self._errors(self._secret_of(request.model)):
                async with asyncio.timeout_at(deadline):
                    response = await self._send(request)
                    body = await stack.enter_async_context(_body(response))
            batches = self._batches(body, deadline, reader, seam, _request_id(response.headers))
            yield await stack.enter_async_context(aclosing(batches))

    async def _send(self, request: ModelRequest) -> httpx2.Response:
        """Not `chat.completions.create`: that walks through all messages with type hints in hand, 0.15 ms each."""
        manners, client = self.manners_of(request.model), self._client_of(request.model)
        options = self._options({**HEADERS, **manners.headers(request)})

        async def send(body: Body) -> httpx2.Response:
            sent = client.post("/chat/completions", body=body, options=options, cast_to=httpx2.Response, **UNREAD)
            response: httpx2.Response = await sent
            return response

        response = await self._taught(request.model, lambda: self._json(request, manners), send)
        manners.answered(response.headers)
        return response

    async def _taught(
        self, model: str, make: Callable[[], Body], send: Callable[[Body], Awaitable[httpx2.Response]]
    ) -> httpx2.Response:
        """The response; where the request is refused for something that it can do without, to one without it."""
        manners = self.manners_of(model)
        for left in reversed(range(_MOST_LESSONS)):
            body = make()
            try:
                return await send(body)
            except openai.APIStatusError as error:
                told = told_of(_content_of(error.response))
                lesson = manners.lessons.learn(told, error.status_code, body, manners.dialect) if left else None
                if lesson is None:
                    raise
                self._log.warning("model_server_refuses lesson=%s model=%s status=%s", lesson, model, error.status_code)
        raise AssertionError("the last try returns or raises")

    def _options(self, headers: dict[str, str]) -> Any:
        """As the SDK's own methods have them: the key goes along, an administrator's key from the environment not."""
        return {"headers": headers, "security": {"bearer_auth": True}}

    def _json(self, request: ModelRequest, manners: Manners) -> Body:
        messages = manners.fitted(request)
        tools = manners.tools(request, messages)
        optional = {
            **tools,
            "reasoning_effort": manners.effort(tools),
            "user": request.user,
            **manners.tracing(request),
            "temperature": request.temperature,
            RESPONSE_FORMAT: response_format(request.answer_format),
            manners.dialect.limit_name: request.max_tokens,
        }
        body = {
            "model": request.model,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
            **{name: value for name, value in optional.items() if value is not None},
        }
        return {**manners.worded(body, request), **self._beginning(request, messages), **request.extra_body}

    def _beginning(self, request: ModelRequest, messages: list[dict[str, Any]]) -> Body:
        if not request.prefix:
            return {}
        if self._continuation is None:
            raise ValueError("this server is not known to go on with an answer")
        return continuing(self._continuation, messages, request.prefix)

    async def _batches(
        self,
        body: AsyncGenerator[bytes, None],
        deadline: float,
        chunks: ChunkReader | ResponseReader,
        seam: Seam | None,
        request_id: str | None,
    ) -> AsyncGenerator[list[ModelEvent], None]:
        decoder, loop = SseDecoder(), asyncio.get_running_loop()
        wait = self._first_chunk_timeout
        received_any = False
        broken: ModelError | None = None
        while not chunks.over and broken is None:
            try:
                async with asyncio.timeout_at(deadline):
                    received = await anext(body, b"")
            except (TimeoutError, *_TRANSPORT_ERRORS) as error:
                if chunks.complete:
                    break  # all of the answer is there; only its usage is not
                broken = ModelTimeout() if isinstance(error, TimeoutError) else ModelCut()
                broken.__cause__ = error
                break
            if not received:
                break
            received_any = True
            events, broken = await _read(received, decoder, chunks)
            if events:
                wait = self._idle_timeout
                shown = seam.read(events) if seam is not None else events
                if shown:
                    yield shown
            deadline = loop.time() + (min(wait, _TRAILER_SECONDS) if chunks.complete else wait)
        end, broken = await _end(chunks, decoder, broken, received_any)
        if seam is not None:
            end = seam.read(end)
        if end:
            yield end
        if broken is not None:
            broken.request_id = request_id
            raise broken
        if chunks.over:
            await _drain(body)

    @contextmanager
    def _errors(self, secret: str | None = None) -> Iterator[None]:
        """Whatever SDK and transport raise before the stream began, as ModelError."""
        try:
            yield
        except ModelError:
            raise
        except openai.APIStatusError as error:
            headers = error.response.headers
            told = error_of_status(
                error.status_code,
                _content_of(error.response),
                self._secret if secret is None else secret,
                retry_after_seconds(headers),
            )
            told.request_id = _request_id(headers)
            raise told from error
        except TimeoutError as error:
            raise ModelTimeout from error
        except httpx2.InvalidURL as error:
            raise ModelWrongAddress from error
        except (openai.APIConnectionError, *_TRANSPORT_ERRORS) as error:
            if isinstance(error.__cause__, (httpx2.InvalidURL, httpx2.UnsupportedProtocol)):
                raise ModelWrongAddress from error
            if _was_dropped(error):
                raise ModelDropped from error
            unreached = ModelUnavailable()
            unreached.reached = False
            raise unreached from error
        except openai.OpenAIError as error:
            raise ModelRejected from error


@cache
def _trusted() -> ssl.SSLContext:
    """Whose certificates are believed: read once for the process, which takes longer than a call of a model."""
    return httpx2.create_ssl_context()


def _was_dropped(error: BaseException) -> bool:
    """Whether a connection ended before the answer began. SDK and httpx2 each wrap aiohttp's error once."""
    cause = error.__cause__ and error.__cause__.__cause__
    dropped = isinstance(cause, (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError))
    return dropped and not isinstance(cause, aiohttp.ClientConnectorError)


async def _reading(read: Callable[[bytes, list[ModelEvent]], None], data: bytes, events: list[ModelEvent]) -> None:
    """Beside the event loop where it may take long: other turns of this process go on."""
    if len(data) <= _QUICKLY_READ_BYTES:
        read(data, events)
    else:
        await asyncio.to_thread(read, data, events)


async def _read(
    received: bytes, decoder: SseDecoder, chunks: ChunkReader | ResponseReader
) -> tuple[list[ModelEvent], ModelError | None]:
    """The events in these bytes, and the error that ends them: what came before an error is not lost."""
    events: list[ModelEvent] = []
    try:
        for data in decoder.feed(received):
            await _reading(chunks.read, data, events)
    except ModelError as error:
        return events, error
    except (EventTooLarge, RecursionError):
        return events, ModelGarbage()
    return events, None


async def _end(
    chunks: ChunkReader | ResponseReader, decoder: SseDecoder, broken: ModelError | None, received_any: bool
) -> tuple[list[ModelEvent], ModelError | None]:
    """What was held back, and `Finished`; or what came, and the error that the answer ended with."""
    events: list[ModelEvent] = []
    try:
        if broken is None:
            await _reading(chunks.read_body, decoder.left, events)
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


@asynccontextmanager
async def _body(response: httpx2.Response) -> AsyncIterator[AsyncGenerator[bytes, None]]:
    """The response's bytes. The connection is closed on leaving, or kept for others when the body was whole."""
    try:
        async with aclosing(response.aiter_bytes()) as body:
            yield body
    finally:
        await response.aclose()


def _content_of(response: httpx2.Response) -> object:
    """What an error's response says: its JSON, or its text."""
    content = response.content[:MAX_ERROR_BYTES] if response.is_error else response.content
    try:
        values = loose_values(content)
    except NotJson:
        return content.decode("utf-8", "replace")
    return values[0] if len(values) == 1 else values


def _models_of(body: object) -> list[str]:
    listed = body.get("data") if isinstance(body, dict) else None
    ids = [entry.get("id") for entry in listed or () if isinstance(entry, dict)]
    return [name for name in ids if isinstance(name, str)]


def _request_id(headers: Mapping[str, str]) -> str | None:
    """Under which name the server knows of the request, for its operator."""
    return next((label for name in _REQUEST_IDS if (label := label_of(headers.get(name), 100))), None)


async def _drain(body: AsyncGenerator[bytes, None]) -> None:
    """Read on to the end of the body, which most often is there already."""
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while await anext(body, b""):
                pass
    except (TimeoutError, *_TRANSPORT_ERRORS):
        pass  # the connection is closed instead of kept
