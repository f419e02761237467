"""The tool `http_operation`: hands work to an outside service, which answers at once or calls back later.

What the service gets, as JSON by POST: operation_id, task_id, tool_call_id, session_id, input, callback_url,
progress_url, secret (for signing its webhooks), deadline (ISO 8601); and the headers Idempotency-Key (the operation)
and traceparent. `task_id` and `session_id` are pseudonyms, the same ones each time, and other ones for other services.
What it answers: 200 with a JSON result; 202, or {"status": "accepted", …}, when a webhook follows; anything else is a
failure.

Guarantees: the model names a service, never an address. A service that could not be reached, or that said that it has
no time, is asked again, with the same key. Redirects are not followed. Nothing of what a service answers is shown but
its result, and the `error` of a failure.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict, Field, HttpUrl
from sluiceway.backoff import Backoff
from sluiceway.process.logs import get_logger
from sluiceway.tracing import names
from sluiceway.tracing.spans import span

from tool_runner.tool.callbacks import Callbacks
from tool_runner.tool.definition import Accepted, Tool, ToolContext, ToolFailed

_TRIES = 4
_ASK_AGAIN = frozenset({429, 502, 503, 504})
_MAX_ERROR_CHARS = 500


class Work(BaseModel):
    model_config = ConfigDict(extra="forbid")

    service: str = Field(min_length=1, description="Which service is to do it.")
    input: dict[str, Any] = Field(default_factory=dict, description="What the service needs to know.")


class HttpOperation(Tool[Work]):
    """`services`: their addresses by name."""

    name = "http_operation"
    title = "Outside service"
    Input = Work
    timeout_seconds = 150
    repeatable = True

    def __init__(self, services: Mapping[str, HttpUrl], callbacks: Callbacks, deadline_seconds: float) -> None:
        self._services = {name: str(url) for name, url in services.items()}
        self._callbacks = callbacks
        self.deadline_seconds = deadline_seconds
        self.description = f"Hands work to an outside service: {', '.join(sorted(services))}. It may take a while."

    def schema(self) -> dict[str, Any]:
        schema = super().schema()
        schema["properties"]["service"]["enum"] = sorted(self._services)
        return schema

    async def run(self, arguments: Work, context: ToolContext) -> Any:
        url = self._services.get(arguments.service)
        if url is None:
            known = ", ".join(sorted(self._services))
            raise ToolFailed(f"There is no service {arguments.service!r}. There are: {known}.", "INVALID_ARGUMENTS")
        status, body = await self._asked(url, self._question(arguments, context), context)
        if status == 202:
            return Accepted()
        if status != 200:
            raise ToolFailed(f"The service {arguments.service} answered {status}{_reason(body)}", "SERVICE_FAILED")
        try:
            result = json.loads(body)
        except (ValueError, RecursionError):
            raise ToolFailed(f"The answer of the service {arguments.service} is no JSON.", "INVALID_RESULT") from None
        return result

    def _question(self, arguments: Work, context: ToolContext) -> dict[str, Any]:
        ids = {"task_id": context.task_id, "session_id": context.session_id}
        return {
            "operation_id": context.operation_id,
            "tool_call_id": context.tool_call_id,
            **self._callbacks.pseudonyms(f"http:{arguments.service}", ids),
            "input": arguments.input,
            **self._callbacks.of(context.operation_id).told(),
            "deadline": context.deadline_at.isoformat(),
        }

    async def _asked(self, url: str, question: dict[str, Any], context: ToolContext) -> tuple[int, bytes]:
        """Status and body, after as many tries as it takes and makes sense."""
        headers = {"idempotency-key": context.operation_id, "accept": "application/json", "accept-encoding": "identity"}
        backoff = Backoff(first_seconds=0.5)
        for left in reversed(range(_TRIES)):
            try:
                with span(
                    "POST", "client", {names.HTTP_METHOD: "POST", names.SERVER_ADDRESS: httpx.URL(url).host}
                ) as call:
                    traceparent = call.traceparent or context.traceparent
                    traced = {**headers, "traceparent": traceparent} if traceparent is not None else headers
                    status, body = await _posted(url, question, traced, context)
                    call.set({names.HTTP_STATUS: status})
                if not left or status not in _ASK_AGAIN:
                    return status, body
                reason = str(status)
            except httpx.TransportError as error:
                reason = type(error).__name__
                if not left:
                    raise ToolFailed("The service cannot be reached.", "SERVICE_UNAVAILABLE") from error
            get_logger().warning("service_asked_again", reason=reason, tries_left=left)
            await asyncio.sleep(backoff.next_seconds())
        raise AssertionError("the last try either answers or raises")


async def _posted(
    url: str, question: dict[str, Any], headers: Mapping[str, str], context: ToolContext
) -> tuple[int, bytes]:
    """One try. The body is read as far as a result may be long, and a little more."""
    body = bytearray()
    async with context.http.stream("POST", url, json=question, headers=headers) as response:
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > context.settings.max_result_bytes:
                raise ToolFailed("The service answered more than is taken.", "RESULT_TOO_LARGE")
    return response.status_code, bytes(body)


def _reason(body: bytes) -> str:
    """What a service says of its failure, where it says it as {"error": "…"} or {"error": {"message": "…"}}."""
    try:
        told = json.loads(body)["error"]
        told = told["message"] if isinstance(told, dict) else told
    except (ValueError, LookupError, TypeError, RecursionError):
        return "."
    return f": {told[:_MAX_ERROR_CHARS]}" if isinstance(told, str) else "."
