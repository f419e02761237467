"""A model server: the connections to it, the keys that go along, and how each of its models is spoken to.

Guarantees
- A model that settings have on another server is asked there, with that server's key or none: ours is not for it.
- Nothing is sent twice: the SDK's own retries are off. No redirect is followed: it would take a conversation to
  whatever address it names.
- Bodies that are read whole have a limit (whole_bodies.py), and so have interim answers (interim_answers.py).
- What a refusal taught of a model stays for the process (lessons.py).
"""

import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, AsyncExitStack
from functools import cache
from typing import Any, Self

import httpx2
import openai

from sluiceway_llm.asking.manners import Body, Manners
from sluiceway_llm.asking.server_options import ServerOptions
from sluiceway_llm.calling.faults import as_model_errors, content_of
from sluiceway_llm.calling.interim_answers import bound_interim_answers
from sluiceway_llm.calling.whole_bodies import bounded
from sluiceway_llm.error_words import told_of

_OPENAI = "https://api.openai.com/v1"
_NO_KEY = "not-needed"
_STREAMED = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
_UNREAD: Any = {"stream": True, "stream_cls": None}
"""Makes `post` give the response before its body was read; the types of the SDK know only its own stream classes."""
_KEEPALIVE_SECONDS = 30.0
_MOST_LESSONS = 12
"""Of one request: more would be a server that finds a new reason each time."""


class ServerClient:
    """Open with `async with`; one for the process. `options`: what is known of the server beforehand, and
    `model_options` of some of its models."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        connect_timeout: float,
        max_connections: int,
        options: ServerOptions | None = None,
        model_options: Mapping[str, ServerOptions] | None = None,
    ) -> None:
        self.base_url = base_url or _OPENAI
        self._secret = api_key
        self._connect_timeout = connect_timeout
        self._max_connections = max_connections
        self._options = options or ServerOptions()
        self._model_options = model_options or {}
        self._manners: dict[str, Manners] = {}
        self._log = logging.getLogger(__name__)
        self._resources = AsyncExitStack()
        self._client: openai.AsyncOpenAI
        self._clients: dict[str, openai.AsyncOpenAI] = {}

    async def __aenter__(self) -> Self:
        # The probe must not wait for a stream to end.
        limits = httpx2.Limits(max_connections=self._max_connections + 1, keepalive_expiry=_KEEPALIVE_SECONDS)
        # Reads have deadlines of our own, so that the first may differ from the others.
        timeout = httpx2.Timeout(None, connect=self._connect_timeout)
        http = openai.DefaultAioHttpClient(
            limits=limits,
            timeout=timeout,
            verify=_trusted(),
            event_hooks={"response": [bounded]},
            follow_redirects=False,
        )
        bound_interim_answers(http)
        client = openai.AsyncOpenAI(
            base_url=self.base_url, api_key=self._secret or _NO_KEY, max_retries=0, http_client=http, timeout=timeout
        )
        self._client = await self._resources.enter_async_context(client)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._resources.aclose()

    @property
    def met(self) -> Mapping[str, Manners]:
        """The models that were asked for, and how each is spoken to."""
        return self._manners

    def manners_of(self, model: str) -> Manners:
        """How this model is spoken to. What is learned of it stays for the process."""
        if model not in self._manners:
            options = self._options.with_(self._model_options.get(model, ServerOptions()))
            self._manners[model] = Manners(options.base_url or self.base_url, model, options)
        return self._manners[model]

    def address_of(self, model: str) -> str:
        return self.manners_of(model).options.base_url or self.base_url

    def secret_of(self, model: str) -> str:
        """Another server's key is its own, or none: ours is not for it."""
        options = self.manners_of(model).options
        if options.api_key is not None:
            return options.api_key.get_secret_value()
        return self._secret if options.base_url is None else ""

    def errors(self, model: str | None = None) -> AbstractContextManager[None]:
        """Whatever is raised before an answer begins, as ModelError that says no key. None: of no model."""
        return as_model_errors(self._secret if model is None else self.secret_of(model))

    async def get(self, path: str, model: str | None = None) -> httpx2.Response:
        """Read whole. `model`: of the server that has it; None: of the one that most models are on."""
        client = self._client if model is None else self._client_of(model)
        return await client.get(path, options=_options({}), cast_to=httpx2.Response)

    async def post(self, path: str) -> httpx2.Response:
        return await self._client.post(path, options=_options({}), cast_to=httpx2.Response)

    async def reopened(self, model: str, path: str, headers: Mapping[str, str], params: Body) -> httpx2.Response:
        """A stream that the server keeps. The body is not read yet."""
        options = _options({**_STREAMED, **headers}) | {"params": params}
        response: httpx2.Response = await self._client_of(model).get(
            path, options=options, cast_to=httpx2.Response, **_UNREAD
        )
        return response

    async def streamed(
        self, model: str, path: str, headers: Mapping[str, str], make: Callable[[], Body]
    ) -> httpx2.Response:
        """A stream that is made for this request. The body is not read yet. Where the request is refused for something
        that it can do without, the answer is that to one without it: `make` makes one by what was learned."""
        client, options = self._client_of(model), _options({**_STREAMED, **headers})

        async def send(body: Body) -> httpx2.Response:
            response: httpx2.Response = await client.post(
                path, body=body, options=options, cast_to=httpx2.Response, **_UNREAD
            )
            return response

        return await self._taught(model, make, send)

    async def _taught(
        self, model: str, make: Callable[[], Body], send: Callable[[Body], Awaitable[httpx2.Response]]
    ) -> httpx2.Response:
        manners = self.manners_of(model)
        for left in reversed(range(_MOST_LESSONS)):
            body = make()
            try:
                return await send(body)
            except openai.APIStatusError as error:
                told = told_of(content_of(error.response))
                lesson = manners.lessons.learn(told, error.status_code, body, manners.dialect) if left else None
                if lesson is None:
                    raise
                self._log.warning("model_server_refuses lesson=%s model=%s status=%s", lesson, model, error.status_code)
        raise AssertionError("the last try returns or raises")

    def _client_of(self, model: str) -> openai.AsyncOpenAI:
        options = self.manners_of(model).options
        if options.base_url is None and options.api_key is None:
            return self._client
        if model not in self._clients:
            key = self.secret_of(model) or _NO_KEY
            self._clients[model] = self._client.with_options(base_url=self.address_of(model), api_key=key)
        return self._clients[model]


def _options(headers: dict[str, str]) -> Any:
    """As the SDK's own methods have them: the key goes along, an administrator's key from the environment not."""
    return {"headers": headers, "security": {"bearer_auth": True}}


@cache
def _trusted() -> ssl.SSLContext:
    """Whose certificates are believed: read once for the process, which takes longer than a call of a model."""
    return httpx2.create_ssl_context()
