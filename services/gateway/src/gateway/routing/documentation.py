"""The routes that describe the routes: the OpenAPI document and its page, both made once at the start."""

import json
from collections.abc import Sequence
from typing import Any

from starlette.responses import HTMLResponse, Response

from gateway.api.models import AnyObject
from gateway.routing import docs_page
from gateway.routing.openapi import build_document
from gateway.routing.table import Answer, Call, NoParams, Operation
from gateway.settings import Settings


class Documentation:
    """`operations` are all routes, those of the documentation included."""

    def __init__(self, operations: Sequence[Operation[Any, Any]], version: str, settings: Settings) -> None:
        self.operations = (*operations, *self._own_operations())
        self.document = build_document(self.operations, version, settings)
        self._json = json.dumps(self.document, ensure_ascii=False).encode()
        self._page = docs_page.render(self.document)

    async def openapi(self, call: Call[NoParams, None]) -> Response:
        return Response(self._json, media_type="application/json")

    async def docs(self, call: Call[NoParams, None]) -> Response:
        return HTMLResponse(self._page, headers={"Content-Security-Policy": docs_page.POLICY})

    def _own_operations(self) -> tuple[Operation[Any, Any], ...]:
        return (
            Operation(
                "GET",
                "/openapi.json",
                self.openapi,
                "This document",
                "System",
                {200: Answer("OpenAPI 3.1.", AnyObject)},
                NoParams,
                people=False,
            ),
            Operation(
                "GET",
                "/docs",
                self.docs,
                "This document, for people",
                "System",
                {200: Answer("A page.", media_type="text/html")},
                NoParams,
                people=False,
            ),
        )
