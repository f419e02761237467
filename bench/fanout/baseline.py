"""The usual way to fan out, for comparison: each subscriber has a connection of its own and blocks on an XREAD.

Done decently, as such endpoints are written: a read brings up to ten entries, an entry is decoded into an event, and
the event is yielded to a StreamingResponse as JSON; uvloop, httptools and hiredis as in the gateway; no logging.

    python -m bench.fanout.baseline REDIS_URL PORT
"""

import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from redis.asyncio import Redis
from sluiceway import keys
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

HEADERS = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
TERMINAL = ("finish", "error")


async def _frames(redis_url: str, key: str) -> AsyncIterator[str]:
    cursor = "0-0"
    async with Redis.from_url(redis_url, decode_responses=True, socket_timeout=None, protocol=2) as redis:
        while True:
            answer: Any = await redis.xread({key: cursor}, count=10, block=4000)
            for entry_id, fields in answer[0][1] if answer else ():
                event = json.loads(fields["d"])
                yield f"id: {entry_id}\ndata: {json.dumps(event)}\n\n"
                cursor = entry_id
                if event["type"] in TERMINAL:
                    yield "data: [DONE]\n\n"
                    return


def application(redis_url: str) -> Starlette:
    async def stream(request: Request) -> StreamingResponse:
        frames = _frames(redis_url, keys.task_events(request.path_params["task_id"]))
        return StreamingResponse(frames, headers=HEADERS, media_type="text/event-stream")

    return Starlette(routes=[Route("/{task_id}", stream)])


def main() -> None:
    redis_url, port = sys.argv[1:]
    uvicorn.run(
        application(redis_url),
        host="127.0.0.1",
        port=int(port),
        loop="uvloop",
        http="httptools",
        ws="none",
        backlog=4096,
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
