"""Spans where they are on, where they are off, and where nobody takes them."""

import gc
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, messaging_attributes
from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes, service_attributes
from sluiceway.tracing import names
from sluiceway.tracing.exporting import is_on, start
from sluiceway.tracing.spans import continued, current, is_traceparent, span, trace_id_of, within

from harness.collector import Collector, collecting
from harness.processes.ports import free_port
from harness.waiting import block_until

_PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
_UNSAMPLED = _PARENT[:-1] + "0"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """One that spans of this process are sent to, until the test ends."""
    with collecting() as started:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", started.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        stop = start("tests", "one")
        yield started
        stop()


@pytest.mark.requirement("OP-5")
def test_a_process_without_a_collector_does_not_even_import_what_would_send() -> None:
    code = (
        "import sys, gateway.__main__\n"
        "from sluiceway.tracing.exporting import start\n"
        "from sluiceway.tracing.spans import current, span\n"
        "start('tests', 'one')\n"
        "with span('a') as one, span('b') as other: assert one is other is current() and one.traceparent is None\n"
        # The clients of Redis and of MCP servers import what they can of it by themselves.
        "sent = ('opentelemetry.sdk.trace', 'opentelemetry.exporter', 'opentelemetry.proto')\n"
        "assert not (found := [name for name in sys.modules if name.startswith(sent)]), found"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)


@pytest.mark.requirement("OP-5")
def test_what_is_off_keeps_nothing() -> None:
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(1000):
        with span("a", "client", {"b": 1}) as off, continued("c", _PARENT) as inner:
            assert off is inner
            off.set({"d": 2})
            off.event("e", {})
            off.fail("f")
    assert len(gc.get_objects()) - before < 100
    assert within(_PARENT) == _PARENT


def test_the_standard_variables_say_whether_it_is_on() -> None:
    there = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
    assert is_on(there)
    assert is_on({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"})
    for off in ({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, {**there, "OTEL_SDK_DISABLED": "true"}):
        assert not is_on(off)
    assert not is_on({**there, "OTEL_TRACES_EXPORTER": "none"})


def test_a_span_continues_its_trace_and_says_what_failed_without_its_words(collector: Collector) -> None:
    with pytest.raises(ValueError, match="the card"):
        _work_in_vain("the card is 4111 1111 1111 1111")
    assert current().traceparent is None
    with continued("of nothing", None) as nothing, continued("malformed", "00-zz") as malformed:
        assert (nothing.traceparent, malformed.traceparent) == (None, None)
    block_until(lambda: len(collector.spans) == 2, timeout=10, what="both have come")
    seen = {each.name: each for each in collector.spans}
    assert (seen["outer"].parent, seen["inner"].parent) == ("00f067aa0ba902b7", seen["outer"].span_id)
    assert (seen["outer"].failed, seen["outer"].attributes) == (True, {names.ERROR_TYPE: "ValueError"})
    assert (seen["inner"].attributes, seen["inner"].events, seen["inner"].failed) == ({"kept": "a"}, ["retry"], False)
    assert (seen["inner"].links, seen["inner"].service) == (["b" * 32], "sluiceway-tests")
    assert not any(b"4111" in body for body in collector.bodies)


def test_a_trace_that_its_caller_does_not_record_is_recorded_nowhere(collector: Collector) -> None:
    with continued("quiet", _UNSAMPLED) as quiet:
        assert quiet.traceparent is not None
        assert quiet.traceparent.endswith("-00")
        assert trace_id_of(quiet.traceparent) == trace_id_of(_UNSAMPLED)
    with span("told"):
        pass
    block_until(lambda: collector.spans, timeout=10, what="the other has come")
    assert [each.name for each in collector.spans] == ["told"]


@pytest.mark.requirement("OP-5")
def test_a_collector_that_is_away_holds_up_nobody_and_is_told_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    # The time for one try, and the few spans that are kept, are the SDK's own settings.
    for name, value in (("EXPORTER_OTLP_TIMEOUT", "0.3"), ("BSP_SCHEDULE_DELAY", "20"), ("BSP_MAX_QUEUE_SIZE", "512")):
        monkeypatch.setenv(f"OTEL_{name}", value)
    stop = start("tests", "one")
    with caplog.at_level(logging.INFO):
        began = time.monotonic()
        for number in range(5_000):
            with span(f"away {number}"):
                pass
        # 50 µs or so for each; a try to send takes 300 ms.
        assert time.monotonic() - began < 20
        block_until(lambda: "traces_not_exported" in caplog.text, timeout=20, what="it is told")
        with collecting(port) as collector:

            def is_back() -> bool:
                with span("back"):
                    pass
                return any(each.name == "back" for each in collector.spans)

            block_until(is_back, timeout=20, what="it is back")
            block_until(lambda: "exported_again" in caplog.text, timeout=10, what="that is told, too")
            assert sum(each.name.startswith("away") for each in collector.spans) < 2_000
        messages = [record.getMessage() for record in caplog.records]
        assert messages == ["traces_not_exported: the collector does not take them", "traces_exported_again"]
        with span("the last"):
            pass
        began = time.monotonic()
        stop()
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("address", ["collector:4318", "http://[::1"])
def test_an_address_that_is_none_stops_nothing_and_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    stop = start("tests", "one")
    with span("in vain"):
        pass
    block_until(lambda: "traces_" in caplog.text, timeout=20, what="it is told")
    stop()


def test_all_names_of_conventions_are_those_of_the_installed_ones() -> None:
    modules = (
        gen_ai_attributes,
        messaging_attributes,
        error_attributes,
        http_attributes,
        server_attributes,
        service_attributes,
    )
    known = {value for module in modules for value in vars(module).values() if isinstance(value, str)}
    ours = {value for name, value in vars(names).items() if name.isupper()}
    # What is said of a process's instance is not among the stable ones yet.
    unknown = {each for each in ours if each not in known and each != names.SERVICE_INSTANCE}
    assert {each for each in unknown if not each.startswith("sluiceway.")} == {names.RETRY}


def test_a_traceparent_is_taken_as_w3c_says() -> None:
    assert is_traceparent(_PARENT)
    for text in (None, "", "00-1-2-01", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", _PARENT + "-x", "ff" + _PARENT[2:]):
        assert not is_traceparent(text)
        assert trace_id_of(text) is None


def _work_in_vain(words: str) -> None:
    elsewhere = "00-" + "b" * 32 + "-" + "c" * 16 + "-01"
    with continued("outer", _PARENT, "consumer") as outer:
        assert trace_id_of(outer.traceparent) == trace_id_of(_PARENT)
        assert (within(_PARENT), within(elsewhere)) == (outer.traceparent, elsewhere)
        with span("inner", "client", {"kept": "a", "left.out": None}, link=elsewhere) as inner:
            assert current() is inner
            inner.event("retry", {"again": 1})
        raise ValueError(words)
