"""One trace for a whole turn, through all of its processes, as a collector of OpenTelemetry gets it."""

import contextlib
import json
import sys
from pathlib import Path

import pytest

from harness.clients.calling import answers, call, calls_tools, offered
from harness.clients.chat import Chat
from harness.clients.folding import fold
from harness.collector import collecting
from harness.model_server import ModelServer
from harness.processes.child import Child
from harness.processes.ports import free_port
from harness.processes.services import Services, clean_environment, probe
from harness.waiting import wait_until

_EXAMPLE = Path(__file__).parents[3] / "examples" / "outside_service.py"
_TRACE, _BROWSER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
_TREE = """\
sluiceway-gateway: POST /api/chat/sessions/{session_id}/messages
  sluiceway-chat-worker: process chat
    sluiceway-chat-worker: chat fake
    sluiceway-tool-runner: execute_tool http_operation
      sluiceway-tool-runner: POST
      sluiceway-gateway: webhook complete
        sluiceway-completion-consumer: process completions
          sluiceway-chat-worker: process chat
            sluiceway-chat-worker: chat fake""".splitlines()


@pytest.mark.requirement("OP-5")
async def test_a_turn_with_a_tool_and_a_webhook_is_one_trace_through_all_processes(
    services: Services, model: ModelServer, tmp_path: Path
) -> None:
    port, elsewhere = free_port(), free_port()
    outside = Child("outside", [sys.executable, str(_EXAMPLE), "--port", str(elsewhere)], tmp_path / "outside.log")
    outside.start(environment=clean_environment(), directory=tmp_path)
    with collecting() as collector:
        system = await services.whole(
            tool_runners=1,
            PORT=str(port),
            PUBLIC_URL=f"http://127.0.0.1:{port}",
            HTTP_OPERATIONS=json.dumps({"example": f"http://127.0.0.1:{elsewhere}/operations"}),
            WEBHOOK_SECRETS='["a root of thirty-two bytes or more, for tests"]',
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_BSP_SCHEDULE_DELAY="50",
        )
        await wait_until(lambda: probe(f"http://127.0.0.1:{elsewhere}", "/"), what="the outside service listens")
        await offered(system.url, "http_operation")
        await calls_tools(
            model, "the secret word", call("http_operation", "call-1", service="example", input={"seconds": 0.1})
        )
        await answers(model, "the secret word", "Whispered back.")
        async with Chat(system.url) as chat:
            session = await chat.open_session()
        async with Chat(system.url, {"traceparent": f"00-{_TRACE}-{_BROWSER}-01"}) as browser:
            turn = await browser.send(session, "the secret word")
        async with Chat(system.url) as chat:
            assert fold(await chat.answer(turn, timeout=60)).text == "Whispered back."
        outside.end()

        def told() -> list[str]:
            # Reports of progress are webhooks, too.
            return collector.tree(_TRACE, without="webhook progress")

        with contextlib.suppress(TimeoutError):
            await wait_until(lambda: told() == _TREE, what="all spans have come")
        assert told() == _TREE
        spans = collector.trace(_TRACE)
        first = next(span for span in spans.values() if span.name.startswith("POST /api"))
        assert (first.parent, first.attributes["http.response.status_code"]) == (_BROWSER, 202)
        models = [span.attributes for span in spans.values() if span.name == "chat fake"]
        assert [each["gen_ai.usage.output_tokens"] > 0 for each in models] == [True, True]
        assert {each["gen_ai.response.finish_reasons"][0] for each in models} == {"tool_calls", "stop"}
        assert {each["gen_ai.conversation.id"] for each in models} == {session}
        (tool,) = [span.attributes for span in spans.values() if span.name.startswith("execute_tool")]
        assert (tool["gen_ai.tool.call.id"], tool["sluiceway.status"]) == ("call-1", "handed_over")
        # The model's own server gets the span that asks it as its parent.
        parents = {record.headers["traceparent"].split("-")[2] for record in await model.requests("the secret word")}
        assert parents == {span.span_id for span in spans.values() if span.name == "chat fake"}
        # What the service sends is a request of a trace of its own, for all it knows: its webhook names that.
        posted = next(span for span in collector.spans if span.name.endswith("{operation_id}/complete"))
        taken = next(span for span in spans.values() if span.name == "webhook complete")
        assert (posted.trace_id != _TRACE, taken.links) == (True, [posted.trace_id])
        # Nothing that was said is in any of them.
        sent = b"".join(collector.bodies)
        assert not any(word in sent for word in (b"secret word", b"Whispered"))
