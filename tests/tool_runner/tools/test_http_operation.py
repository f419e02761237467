"""Work for outside services: what they get, what they may answer, and what comes of it."""

import asyncio
import json
from typing import Any

import pytest
from pydantic import SecretStr
from sluiceway.operation.webhook_secrets import operation_secret
from tool_runner.tool.callbacks import Callbacks

from harness.processes.services import Services
from harness.waiting import wait_until
from tests.tool_runner.operations import Caller
from tests.tool_runner.tiny_server import Answer, Request, TinyServer, answering, response, serving

ROOT = "a-root-secret-of-more-than-thirty-two-bytes"


async def start(services: Services, server: TinyServer, **environment: str) -> None:
    await services.tool_runner(
        HTTP_OPERATIONS=json.dumps({"example": server.url("/operations")}),
        PUBLIC_URL="http://gateway.test",
        WEBHOOK_SECRETS=json.dumps([ROOT]),
        LEASE_SECONDS="1",
        **environment,
    )


@pytest.mark.requirement("CH-10")
async def test_a_service_that_accepts_is_waited_for(services: Services, caller: Caller) -> None:
    async with serving(answering("", 202)) as server:
        await start(services, server, HTTP_OPERATION_DEADLINE_SECONDS="77")
        spec = (await caller.offered())["http_operation"]
        assert spec.parameters["properties"]["service"]["enum"] == ["example"]
        assert spec.deadline_seconds == 77
        operation = await caller.call("http_operation", service="example", input={"x": "ü"})
        await caller.all_acknowledged()
        assert await caller.status(operation) == "accepted"
        assert await caller.told(operation) == []
    (request,) = server.requests
    assert request.headers["idempotency-key"] == operation.id
    assert request.headers["accept-encoding"] == "identity", "what it answers is read as it comes"
    assert request.headers.get("traceparent") == operation.traceparent
    callback = f"http://gateway.test/api/chat/operations/{operation.id}"
    told = request.json()
    # Who knows the ids of a conversation that has no owner could take it over.
    assert operation.session_id not in request.body.decode()
    assert operation.task_id not in request.body.decode()
    assert told == {
        "operation_id": operation.id,
        "task_id": told["task_id"],
        "tool_call_id": operation.tool_call_id,
        "session_id": told["session_id"],
        "input": {"x": "ü"},
        "callback_url": f"{callback}/complete",
        "progress_url": f"{callback}/progress",
        "secret": operation_secret(ROOT, operation.id),
        "deadline": operation.deadline_at.isoformat(),
    }


async def test_pseudonyms_are_the_same_each_time_and_others_for_each_service() -> None:
    callbacks, other = Callbacks("http://gateway.test", SecretStr(ROOT)), Callbacks("http://x", SecretStr(ROOT[::-1]))
    ids = {"session_id": "s-1", "task_id": "s-1"}
    one = callbacks.pseudonyms("http:one", ids)
    assert one == callbacks.pseudonyms("http:one", ids)
    made = [one, callbacks.pseudonyms("http:two", ids), other.pseudonyms("http:one", ids)]
    assert len({name for names in made for name in names.values()}) == 6


async def test_no_cookie_of_a_service_is_sent_along_with_the_next_users_work(
    services: Services, caller: Caller
) -> None:
    async with serving(answering("1", set_cookie="user=ada; Path=/")) as server:
        await start(services, server)
        for _ in range(2):
            assert (await caller.ask("http_operation", service="example")) == 1
    assert all("cookie" not in request.headers for request in server.requests)


def scripted() -> Answer:
    """Answers what the input of the operation asks for; what it asks for first, when it is asked again."""
    asked: dict[str, int] = {}

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        wanted: dict[str, Any] = request.json()["input"]
        times = asked[request.headers["idempotency-key"]] = asked.get(request.headers["idempotency-key"], 0) + 1
        if times <= wanted.get("fails_first", 0):
            writer.write(response("busy", 503))
        else:
            writer.write(response(wanted["body"], wanted["status"], **wanted.get("headers", {})))

    return answer


@pytest.mark.requirement("CC-7")
async def test_every_answer_of_a_service_means_something(services: Services, caller: Caller) -> None:
    async with serving(scripted()) as server:
        await start(services, server)

        async def ask(status: int, body: str, **more: Any) -> Any:
            return await caller.call(
                "http_operation", service="example", input={"status": status, "body": body, **more}
            )

        done = await ask(200, '{"answer": 42}')
        again = await ask(200, '"late"', fails_first=2)
        accepted = await ask(200, '{"status": "accepted", "id": 7}')
        failures = {
            "SERVICE_FAILED": [
                await ask(500, '{"error": {"message": "no disk"}}'),
                await ask(404, "<html>"),
                await ask(302, "", headers={"location": "http://127.0.0.1:1/"}),
            ],
            "INVALID_RESULT": [await ask(200, "no json"), await ask(200, ""), await ask(200, "[" * 100_000)],
            "RESULT_TOO_LARGE": [await ask(200, '"' + "x" * 1_100_000 + '"'), await ask(200, " " * 1_100_000 + "1")],
        }
        assert (await caller.end(done)).result == {"answer": 42}
        assert (await caller.end(again)).result == "late"
        for kind, operations in failures.items():
            assert [await caller.failure(one) for one in operations] == [kind] * len(operations)
        job = await caller.end(failures["SERVICE_FAILED"][0])
        assert job.error is not None
        assert job.error.message == "The service example answered 500: no disk"
        await wait_until(lambda: _is(caller, accepted, "accepted"))
        unknown = await caller.call("http_operation", service="http://127.0.0.1/")
        assert await caller.failure(unknown) == "INVALID_ARGUMENTS"
    assert len({request.headers["idempotency-key"] for request in server.requests}) == len(server.requests) - 2


async def test_a_service_that_is_away_or_garbles_fails_its_operation(services: Services, caller: Caller) -> None:
    async def garble(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"no http at all\r\n\r\n")

    async with serving(garble) as server:
        await start(services, server)
        garbled = await caller.call("http_operation", service="example")
        assert await caller.failure(garbled) == "SERVICE_UNAVAILABLE"
    away = await caller.call("http_operation", service="example")
    # In words for people, who read it on the page.
    error = (await caller.end(away)).error
    assert error is not None
    assert (error.type, error.message) == ("SERVICE_UNAVAILABLE", "The service cannot be reached.")


async def test_a_service_that_never_answers_is_given_up_at_the_deadline(services: Services, caller: Caller) -> None:
    async def silent(_: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with serving(silent) as server:
        await start(services, server)
        operation = await caller.call("http_operation", service="example", deadline_seconds=2)
        assert await caller.failure(operation) == "TIMEOUT"


async def _is(caller: Caller, operation: Any, status: str) -> bool:
    return await caller.status(operation) == status
