"""Recording spans with OpenTelemetry, and sending them by OTLP over HTTP, as the standard variables say.

It is on where OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set. OTEL_SDK_DISABLED=true or
OTEL_TRACES_EXPORTER=none switches it off. Headers, certificates, timeout, compression, sampling
(OTEL_TRACES_SAMPLER), batches and limits are the SDK's, under its names.

Guarantees
- Nobody waits for the collector: a thread sends. It keeps OTEL_BSP_MAX_QUEUE_SIZE (2048) spans at most; those that come
  on top of it push out the oldest.
- A collector that is away is told of once (`traces_not_exported`), and once when it is back.
- A process that ends sends what it has for `_LAST_SECONDS`, and no longer.
Not guaranteed: that a span arrives.
"""

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sluiceway.tracing import names
from sluiceway.tracing.spans import Attributes, Kind, Span, record_with

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

SECRET_VARIABLES = frozenset({"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"})
"""Keys of a collector stand in them."""
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_LAST_SECONDS = 2.0
# Each failure of the exporter, and each span that is pushed out, would be a line.
_TALKATIVE = ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal", "opentelemetry.sdk.trace")

_log = logging.getLogger(__name__)


def is_on(environment: Mapping[str, str] = os.environ) -> bool:
    off = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    none = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"
    return not off and not none and any(environment.get(name, "").strip() for name in _ENDPOINTS)


def start(component: str, instance: str) -> Callable[[], None]:
    """Record from here on, where it is on. What it answers ends that, and sends what is left."""
    if not is_on():
        return lambda: None
    # It takes 0.4 s, and is not needed by most.
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    for logger in _TALKATIVE:
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    told = {names.SERVICE_INSTANCE: instance}
    if not os.environ.get("OTEL_SERVICE_NAME"):
        told[names.SERVICE_NAME] = f"sluiceway-{component}"
    provider = TracerProvider(resource=Resource.create(told), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_exporter()))
    record_with(_OpenTelemetry(provider))

    def stop() -> None:
        record_with(None)
        last = threading.Thread(target=provider.shutdown, name="last-spans", daemon=True)
        last.start()
        last.join(_LAST_SECONDS)

    return stop


def _exporter() -> "SpanExporter":
    """The OTLP exporter, which says once that its collector is away, and once that it is back."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import SpanExportResult

    class Told(OTLPSpanExporter):
        away = False

        def export(self, spans: "Sequence[ReadableSpan]") -> "SpanExportResult":
            reason = "the collector does not take them"
            try:
                result = super().export(spans)
            except Exception as error:  # noqa: BLE001 - an address that is none, for one; the SDK would tell of it each time
                result, reason = SpanExportResult.FAILURE, type(error).__name__
            away = result is not SpanExportResult.SUCCESS
            if away and not self.away:
                _log.warning("traces_not_exported: %s", reason)
            if self.away and not away:
                _log.warning("traces_exported_again")
            self.away = away
            return result

    return Told()


class _OpenTelemetry:
    """A tracer of spans.py, over OpenTelemetry's."""

    def __init__(self, provider: Any) -> None:
        from opentelemetry import trace

        self._tracer = provider.get_tracer("sluiceway")
        self._trace = trace

    def begin(self, name: str, kind: Kind, parent: str | None, link: str | None) -> Span:
        trace = self._trace
        links = [trace.Link(context)] if (context := self._context(link)) is not None else []
        above = self._context(parent)
        inside = trace.set_span_in_context(trace.NonRecordingSpan(above) if above else trace.INVALID_SPAN)
        return _Recorded(self._tracer.start_span(name, inside, trace.SpanKind[kind.upper()], links=links))

    def _context(self, traceparent: str | None) -> Any:
        if traceparent is None:
            return None
        _, trace_id, span_id, flags = traceparent.split("-")
        return self._trace.SpanContext(
            int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=self._trace.TraceFlags(int(flags, 16) & 1)
        )


class _Recorded(Span):
    def __init__(self, span: Any) -> None:
        self._span = span
        context = span.get_span_context()
        self.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def set(self, attributes: Attributes, *, name: str | None = None) -> None:
        self._span.set_attributes(_there(attributes))
        if name is not None:
            self._span.update_name(name)

    def event(self, name: str, attributes: Attributes) -> None:
        self._span.add_event(name, _there(attributes))

    def fail(self, kind: str) -> None:
        from opentelemetry.trace import StatusCode

        self._span.set_attribute(names.ERROR_TYPE, kind)
        self._span.set_status(StatusCode.ERROR)

    def end(self) -> None:
        self._span.end()


def _there(attributes: Attributes) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}
