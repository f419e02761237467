"""A collector of traces: a real server of OTLP over HTTP, which keeps the spans that it is sent."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True)
class SpanSeen:
    """A span as it came over the wire. `parent`: the id of the span above; "" for the first of a trace."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent: str
    attributes: dict[str, Any]
    events: list[str]
    links: list[str]
    failed: bool


@dataclass
class Collector:
    """`url` is what OTEL_EXPORTER_OTLP_ENDPOINT is to be."""

    url: str
    spans: list[SpanSeen] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def trace(self, trace_id: str) -> dict[str, SpanSeen]:
        """The spans of a trace, by their ids."""
        return {span.span_id: span for span in self.spans if span.trace_id == trace_id}

    def tree(self, trace_id: str, without: str) -> list[str]:
        """The spans of a trace, each behind the one above it, indented: what a person sees of it. Those of the same
        parent in the order of their names. `without`: spans of this name, and what is below them, are left out."""
        spans = self.trace(trace_id)

        def below(parent: str, depth: int) -> Iterator[str]:
            for span in sorted(spans.values(), key=lambda span: (span.name, span.span_id)):
                if span.name != without and (span.parent == parent or (not depth and span.parent not in spans)):
                    yield f"{'  ' * depth}{span.service}: {span.name}"
                    yield from below(span.span_id, depth + 1)

        return list(below("-", 0))


@contextmanager
def collecting(port: int = 0) -> Iterator[Collector]:
    """A collector on a free port, or on that one."""
    collector = Collector("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.bodies.append(body)
            collector.spans.extend(_spans(ExportTraceServiceRequest.FromString(body)))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    collector.url = f"http://127.0.0.1:{server.server_port}"
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    serving.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        serving.join()


def _spans(request: Any) -> Iterator[SpanSeen]:
    for resource in request.resource_spans:
        service = _attributes(resource.resource.attributes)["service.name"]
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield SpanSeen(
                    service=service,
                    name=span.name,
                    kind=span.kind,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    attributes=_attributes(span.attributes),
                    events=[event.name for event in span.events],
                    links=[link.trace_id.hex() for link in span.links],
                    failed=span.status.code == 2,
                )


def _attributes(told: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in told}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind) if kind is not None else None
