"""A model server that makes its answers in the background and keeps them: the Responses API with `background`.

Guarantees
- An answer is made once, however many connections read it: a connection that breaks is followed by another, behind the
  last event that was read, as long as each brings something.
- An answer whose stream is refused, as OpenAI's are after five minutes, is read whole: what was told of it is not
  repeated. While it is still being made, it is looked for from time to time.
- Every list of events but the last, which is `Finished`, ends with a `Reached`: who keeps that beside what it made of
  the events can continue there in another process, and misses and repeats nothing.
Not guaranteed: that the server keeps answers for long. OpenAI does for about ten minutes.

Source: OpenAI's guide "background mode".
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import httpx2

from sluiceway_llm.asking.manners import Body
from sluiceway_llm.calling.model import Model
from sluiceway_llm.calling.responses import ResponseReader, to_responses
from sluiceway_llm.model_errors import ModelCut, ModelError, ModelGarbage, ModelRejected
from sluiceway_llm.model_events import Finished, ModelEvent, ModelRequest, Reached

_ABANDON_SECONDS = 5.0
_LOOK_SECONDS = 2.0
_LOOK_TIMEOUT_SECONDS = 30.0
_MOST_FAILED_LOOKS = 5
_BEING_MADE = frozenset({"queued", "in_progress"})


class BackgroundModel(Model):
    @property
    def reattaches(self) -> bool:
        return True

    async def abandon(self, reached: Reached) -> None:
        try:
            with self._server.errors():
                async with asyncio.timeout(_ABANDON_SECONDS):
                    await self._server.post(f"{_path(reached)}/cancel")
        except ModelError:
            pass  # it ends by itself, and nobody reads it

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[AsyncIterator[list[ModelEvent]]]:
        async with aclosing(self._connections(request)) as batches:
            yield batches

    async def _connections(self, request: ModelRequest) -> AsyncGenerator[list[ModelEvent], None]:
        reader = ResponseReader(
            self._server.secret_of(request.model), request.reached, self.manners_of(request.model).by
        )
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
            except ModelRejected as error:
                if told is None or error.status != 400:
                    raise
                yield await self._whole(request.model, told, reader)

    async def _whole(self, model: str, told: Reached, reader: ResponseReader) -> list[ModelEvent]:
        """The rest of an answer that is not streamed any more."""
        failed = 0
        while True:
            try:
                response = await self._looked_at(model, told)
            except ModelError as error:
                failed += 1
                if not error.retryable or failed >= _MOST_FAILED_LOOKS:
                    raise
            else:
                failed = 0
                if response.get("status") not in _BEING_MADE:
                    break
            await asyncio.sleep(_LOOK_SECONDS)
        events: list[ModelEvent] = []
        reader.read_whole(response, events)
        return [*events, reader.finished()]

    async def _looked_at(self, model: str, told: Reached) -> dict[str, Any]:
        with self._server.errors(model):
            async with asyncio.timeout(_LOOK_TIMEOUT_SECONDS):
                response = await self._server.get(_path(told), model)
        try:
            found = json.loads(response.content)
        except ValueError as error:
            raise ModelGarbage from error
        if not isinstance(found, dict):
            raise ModelGarbage
        return found

    async def _send(self, request: ModelRequest) -> httpx2.Response:
        manners = self.manners_of(request.model)
        headers = manners.headers(request)
        if request.reached is not None:
            after = {"starting_after": request.reached.sequence} if request.reached.sequence >= 0 else {}
            return await self._server.reopened(
                request.model, _path(request.reached), headers, {"stream": "true", **after}
            )

        def make() -> Body:
            messages = manners.fitted(request)
            tools = manners.tools(request, messages)
            fitting = replace(
                request, messages=messages, tools=tools.get("tools"), tool_choice=tools.get("tool_choice")
            )
            effort = manners.options.reasoning_effort
            reasoning = {"reasoning": {"effort": effort}} if effort is not None else {}
            return manners.worded(to_responses(fitting) | reasoning, request) | dict(request.extra_body)

        return await self._server.streamed(request.model, "/responses", headers, make)


def _path(reached: Reached) -> str:
    return f"/responses/{quote(reached.response_id, safe='')}"
