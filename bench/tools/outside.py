"""The outside service of this benchmark: `python -m bench.tools.outside PORT`.

POST /operations is answered with 202, and GET /taken tells all operations that came so. POST /held is answered when
POST /release comes: that is what the usual loop waits for (`naive_waiting.py`); GET /holding tells how many wait so.
"""

import asyncio
import sys
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


class Outside:
    def __init__(self) -> None:
        self._taken: list[dict[str, Any]] = []
        self._holding = 0
        self._released = asyncio.Event()

    def application(self) -> Starlette:
        routes = [
            Route("/operations", self.take, methods=["POST"]),
            Route("/taken", self.taken),
            Route("/held", self.hold, methods=["POST"]),
            Route("/holding", self.holding),
            Route("/release", self.release, methods=["POST"]),
        ]
        return Starlette(routes=routes)

    async def take(self, request: Request) -> Response:
        self._taken.append(await request.json())
        return Response(status_code=202)

    async def taken(self, _: Request) -> Response:
        return JSONResponse(self._taken)

    async def hold(self, request: Request) -> Response:
        operation = await request.json()
        self._holding += 1
        try:
            await self._released.wait()
        finally:
            self._holding -= 1
        return JSONResponse({"of": operation["operation_id"]})

    async def holding(self, _: Request) -> Response:
        return JSONResponse(self._holding)

    async def release(self, _: Request) -> Response:
        self._released.set()
        return Response(status_code=204)


if __name__ == "__main__":
    uvicorn.run(Outside().application(), host="127.0.0.1", port=int(sys.argv[1]), backlog=4096, log_level="warning")
