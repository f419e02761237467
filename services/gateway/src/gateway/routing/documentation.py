"""The routes that describe the routes: the OpenAPI document and its page, both made once at the start."""

import json
from collections.abc import Sequence
from typing import Any

from starlette.responses import HTMLResponse, Response

from gateway.api.models.wire import AnyObject
from gateway.routing import docs_page
from gateway.routing.openapi import build_document
from gateway.routing.table import Call, NoParams, RouteSpec, Success
from gateway.settings import Settings


class Documentation:
    """`specs` are all routes, those of the documentation included."""

    def __init__(self, specs: Sequence[RouteSpec[Any, Any]], version: str, settings: Settings) -> None:
        self.specs = (*specs, *self._own_specs())
        self.document = build_document(self.specs, version, settings)
        self._json = json.dumps(self.document, ensure_ascii=False).encode()
        self._page = docs_page.render(self.document)

    async def openapi(self, call: Call[NoParams, None]) -> Response:
        return Response(self._json, media_type="application/json")

    async def docs(self, call: Call[NoParams, None]) -> Response:
        return HTMLResponse(self._page, headers={"Content-Security-Policy": docs_page.POLICY})

    def _own_specs(self) -> tuple[RouteSpec[Any, Any], ...]:
        return (
            RouteSpec(
                "GET",
                "/openapi.json",
                self.openapi,
                "This document",
                "System",
                {200: Success("OpenAPI 3.1.", AnyObject)},
                NoParams,
                people=False,
            ),
            RouteSpec(
                "GET",
                "/docs",
                self.docs,
                "This document, for people",
                "System",
                {200: Success("A page.", media_type="text/html")},
                NoParams,
                people=False,
            ),
        )
