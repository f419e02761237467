"""A model server that makes its answers in the background and keeps them: the Responses API with `background`.

Guarantees
- An answer is made once, however many connections read it: a connection that breaks is followed by another, behind the
  last event that was read, as long as each brings something.
- Every list of events but the last, which is `Finished`, ends with a `Reached`: who keeps that beside what it made of
  the events can go on there in another process, and misses and repeats nothing.
Not guaranteed: that the server keeps answers for long. OpenAI does for about ten minutes.

Source: OpenAI's guide "background mode".
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import httpx2

from sluiceway_llm.model import HEADERS, UNREAD, Model
from sluiceway_llm.model_errors import ModelCut, ModelError
from sluiceway_llm.model_events import Finished, ModelEvent, ModelRequest, Reached
from sluiceway_llm.responses import ResponseReader, to_responses

_ABANDON_SECONDS = 5.0


class BackgroundModel(Model):
    @property
    def reattaches(self) -> bool:
        return True

    async def abandon(self, reached: Reached) -> None:
        try:
            with self._errors():
                async with asyncio.timeout(_ABANDON_SECONDS):
                    await self._client.post(
                        f"{_path(reached)}/cancel", options=self._options({}), cast_to=httpx2.Response
                    )
        except ModelError:
            pass  # it ends by itself, and nobody reads it

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[AsyncIterator[list[ModelEvent]]]:
        async with aclosing(self._connections(request)) as batches:
            yield batches

    async def _connections(self, request: ModelRequest) -> AsyncGenerator[list[ModelEvent], None]:
        reader = ResponseReader(self._secret, request.reached)
        while not reader.over:
            told = reader.reached
            try:
                async with self._opened(replace(request, reached=told), reader) as batches:
                    async for batch in batches:
                        ended = isinstance(batch[-1], Finished)
                        yield batch if ended or reader.reached is None else [*batch, reader.reached]
            except ModelCut:
                if reader.reached == told:
                    raise

    async def _send(self, request: ModelRequest) -> httpx2.Response:
        options: Any = self._options({**HEADERS, **request.headers})
        if request.reached is None:
            sent = self._client.post(
                "/responses", body=to_responses(request), options=options, cast_to=httpx2.Response, **UNREAD
            )
        else:
            after = {"starting_after": request.reached.sequence} if request.reached.sequence >= 0 else {}
            options["params"] = {"stream": "true", **after}
            sent = self._client.get(_path(request.reached), options=options, cast_to=httpx2.Response, **UNREAD)
        response: httpx2.Response = await sent
        return response


def _path(reached: Reached) -> str:
    return f"/responses/{quote(reached.response_id, safe='')}"
