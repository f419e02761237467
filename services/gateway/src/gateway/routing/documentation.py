"""The routes that describe the routes: the OpenAPI document and its page, made and compressed once, at the start."""

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from starlette.responses import Response

from gateway.api.encodings import takes
from gateway.api.inputs import In, Params
from gateway.api.models.wire import AnyObject
from gateway.routing import docs_page
from gateway.routing.openapi import build_document
from gateway.routing.table import Call, RouteSpec, Success
from gateway.settings import Settings


class DocumentParams(Params):
    accept_encoding: Annotated[str, In("header", "Accept-Encoding")] = ""


@dataclass(frozen=True, slots=True)
class _Document:
    text: str
    media_type: str
    compressed: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str, media_type: str, headers: dict[str, str] | None = None) -> "_Document":
        return cls(text, media_type, gzip.compress(text.encode(), mtime=0), headers or {})

    def response(self, accepted: str) -> Response:
        headers = {"Vary": "Accept-Encoding", **self.headers}
        if not takes("gzip", accepted):
            return Response(self.text, headers=headers, media_type=self.media_type)
        return Response(self.compressed, headers=headers | {"Content-Encoding": "gzip"}, media_type=self.media_type)


class Documentation:
    """`specs` are all routes, those of the documentation included."""

    def __init__(self, specs: Sequence[RouteSpec[Any, Any]], version: str, settings: Settings) -> None:
        self.specs = (*specs, *self._own_specs())
        self.document = build_document(self.specs, version, settings)
        self._json = _Document.of(json.dumps(self.document, ensure_ascii=False), "application/json")
        policy = {"Content-Security-Policy": docs_page.POLICY}
        self._page = _Document.of(docs_page.render(self.document), "text/html", policy)

    async def openapi(self, call: Call[DocumentParams, None]) -> Response:
        return self._json.response(call.params.accept_encoding)

    async def docs(self, call: Call[DocumentParams, None]) -> Response:
        return self._page.response(call.params.accept_encoding)

    def _own_specs(self) -> tuple[RouteSpec[Any, Any], ...]:
        return (
            RouteSpec(
                "GET",
                "/openapi.json",
                self.openapi,
                "This document",
                "System",
                {200: Success("OpenAPI 3.1.", AnyObject)},
                DocumentParams,
                people=False,
                description="OpenAPI 3.1, made from the models that validate.",
            ),
            RouteSpec(
                "GET",
                "/docs",
                self.docs,
                "This document, for people",
                "System",
                {200: Success("A page.", media_type="text/html")},
                DocumentParams,
                people=False,
                description="Each route can be tried there.",
            ),
        )
