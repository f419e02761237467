"""A service outside of the cluster that works on operations: it takes one, answers 202, reports progress, and says in
the end how it went, by signed webhooks.

    python examples/outside_service.py --port 9100

and, for the tool runner, HTTP_OPERATIONS='{"example": "http://127.0.0.1:9100/operations"}'. What it does with an
operation stands in the operation's input; all of it is optional:

    {"seconds": 3}                how long the work takes
    {"text": "…"}                 what comes out of it
    {"fail": true}                it fails, with a reason
    {"answer": "now"}             no webhook: the result is the answer
    {"answer": "refuse"}          no webhook either: 503
    {"silent": true}              it takes the operation and is never heard of again
    {"twice": true}               it sends its last webhook twice

What it shows how to do: answer at once and work afterwards; know an operation that is handed over twice; sign with the
published `standardwebhooks` package; send a webhook again, under the same id, until it is taken or no longer wanted.

To see a forged webhook refused:  python examples/outside_service.py --forge OPERATION_ID --gateway http://127.0.0.1:8000
"""

import argparse
import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import uvicorn
from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

REPORTS = 4
# A webhook that is not taken is sent again after 1, 2, 4 … seconds, at most this long after each other, for a day.
LONGEST_WAIT_SECONDS = 60.0
GIVE_UP_AFTER = timedelta(days=1)
# Worth sending again: too early, too often, or something is away on the other side.
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Operation:
    """What the tool runner posts, in so far as this service looks at it."""

    operation_id: str
    input: Mapping[str, Any]
    callback_url: str
    progress_url: str
    secret: str

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Operation":
        return cls(**{name: body[name] for name in cls.__dataclass_fields__})

    @property
    def seconds(self) -> float:
        return float(self.input.get("seconds", 3))

    @property
    def result(self) -> dict[str, Any]:
        return {"text": self.input.get("text", "Done, elsewhere."), "seconds": self.seconds}


class OutsideService:
    """Takes operations over HTTP, and works on each in a task of its own."""

    def __init__(self) -> None:
        self._http = httpx.AsyncClient(timeout=10)
        self._working: dict[str, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def running(self, _: Starlette) -> AsyncIterator[None]:
        async with self._http:
            yield
            for work in self._working.values():
                work.cancel()
            await asyncio.gather(*self._working.values(), return_exceptions=True)

    async def take(self, request: Request) -> Response:
        try:
            operation = Operation.of(await request.json())
        except (ValueError, KeyError, TypeError):
            return JSONResponse({"error": "This is no operation."}, 400)
        say(operation, f"came with the input {json.dumps(operation.input, ensure_ascii=False)}")
        say(operation, f"callback {operation.callback_url}")
        answer = operation.input.get("answer")
        if answer == "now":
            return JSONResponse(operation.result)
        if answer == "refuse":
            return JSONResponse({"error": "Not now."}, 503)
        # The tool runner may hand it over again when it did not hear the answer.
        if operation.operation_id not in self._working and not operation.input.get("silent"):
            self._working[operation.operation_id] = asyncio.create_task(self._work(operation))
        return JSONResponse({"status": "accepted"}, 202)

    async def _work(self, operation: Operation) -> None:
        for number in range(1, REPORTS + 1):
            await asyncio.sleep(operation.seconds / REPORTS)
            percent = 100 * number // REPORTS
            report = {"percent": percent, "message": f"Part {number} of {REPORTS} is done."}
            # Nobody misses a report: it is sent once.
            response = await self._post(operation, operation.progress_url, f"msg_{uuid4().hex}", report)
            if response is not None and response.status_code == 410:
                say(operation, "is not wanted any more; the work stops here")
                return
        ended = {"success": True, "result": operation.result}
        if operation.input.get("fail"):
            ended = {"success": False, "error": {"type": "OUT_OF_PAPER", "message": "The printer has no paper."}}
        await self._deliver(operation, f"msg_{uuid4().hex}", ended)

    async def _deliver(self, operation: Operation, webhook_id: str, body: dict[str, Any]) -> None:
        """Send it until it is taken, or refused for good. The id stays the same, so what arrives twice counts once."""
        times = 2 if operation.input.get("twice") else 1
        wait, until = 1.0, datetime.now(UTC) + GIVE_UP_AFTER
        while times and datetime.now(UTC) < until:
            response = await self._post(operation, operation.callback_url, webhook_id, body)
            if response is None or response.status_code in PASSING:
                # Not all at once, where many wait for the same gateway.
                await asyncio.sleep(max(wait * random.uniform(0.5, 1), asked_to_wait(response)))  # noqa: S311
                wait = min(2 * wait, LONGEST_WAIT_SECONDS)
                continue
            if response.status_code == 410:
                say(operation, "had ended already; nothing more is wanted")
                return
            times -= 1

    async def _post(
        self, operation: Operation, url: str, webhook_id: str, body: dict[str, Any]
    ) -> httpx.Response | None:
        """None: nobody answered."""
        try:
            response = await self._http.post(url, **signed(operation.secret, webhook_id, body))
        except httpx.HTTPError as error:
            say(operation, f"nobody answers at {url}: {type(error).__name__}")
            return None
        say(operation, f"{json.dumps(body, ensure_ascii=False)} → {response.status_code}")
        return response


def asked_to_wait(response: httpx.Response | None) -> float:
    """The seconds of its Retry-After, within bounds."""
    asked = response.headers.get("retry-after", "") if response is not None else ""
    return min(float(asked), LONGEST_WAIT_SECONDS) if asked.isdecimal() else 0.0


def signed(secret: str, webhook_id: str, body: dict[str, Any]) -> dict[str, Any]:
    """Content and headers, as Standard Webhooks say: the signature is over the very text that is sent."""
    content, now = json.dumps(body, ensure_ascii=False), datetime.now(UTC)
    headers = {
        "content-type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, now, content),
    }
    return {"content": content.encode(), "headers": headers}


def forge(gateway: str, operation_id: str) -> None:
    """Complete somebody else's operation with a secret of one's own, and show what comes of it."""
    secret = "whsec_" + "Zm9yZ2Vk" * 4
    body = {"success": True, "result": {"text": "This was never done."}}
    url = f"{gateway}/api/chat/operations/{operation_id}/complete"
    response = httpx.post(url, **signed(secret, f"msg_{uuid4().hex}", body))
    print(f"POST {url}\n{response.status_code} {response.text}")


def say(operation: Operation, what: str) -> None:
    print(f"{datetime.now():%H:%M:%S} {operation.operation_id} {what}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="A service outside of the cluster that works on operations.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--forge", metavar="OPERATION_ID", help="send a forged completion, and end")
    parser.add_argument("--gateway", default="http://127.0.0.1:8000", help="where the forged completion is sent")
    options = parser.parse_args()
    if options.forge:
        forge(options.gateway, options.forge)
        return
    service = OutsideService()
    app = Starlette(routes=[Route("/operations", service.take, methods=["POST"])], lifespan=service.running)
    print(f"Operations are taken at http://{options.host}:{options.port}/operations", flush=True)
    uvicorn.run(app, host=options.host, port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
