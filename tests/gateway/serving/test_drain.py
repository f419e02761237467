"""How a gateway ends: readiness first, then the streams, then the process."""

import asyncio
import signal

import httpx
import pytest

from harness.clients.sse import follow
from harness.processes.services import Service, Services
from harness.waiting import wait_until
from tests.gateway.conftest import client_of
from tests.gateway.stand_in import StandIn


async def _turn(http: httpx.AsyncClient) -> str:
    await http.post("/api/chat/sessions", json={"id": "s"})
    response = await http.post("/api/chat/sessions/s/messages", json={"message": "hello"})
    return str(response.json()["stream_url"])


@pytest.mark.requirement("GW-4")
async def test_sigterm_breaks_open_streams_at_once_and_never_ends_them(
    gateway: Service, http: httpx.AsyncClient, worker: StandIn
) -> None:
    url = await _turn(http)
    task = await worker.begin(url.split("/")[4])
    await worker.say(task, "half a sen")
    async with follow(gateway.url + url) as one, follow(gateway.url + url) as other:
        await one.read_text(10)
        await other.read_text(10)
        assert await gateway.terminate(timeout=5) == 0
        await one.read_to_end()
        await other.read_to_end()
    assert (one.end, other.end) == ("broken", "broken")
    assert not one.done
    assert "finish" not in one.types
    assert one.retry_ms is not None


@pytest.mark.requirement("GW-4", "GW-1")
async def test_a_broken_stream_continues_at_another_gateway_without_a_gap_or_a_repeat(
    services: Services, worker: StandIn
) -> None:
    first, second = await asyncio.gather(services.gateway(), services.gateway())
    async with client_of(first) as http:
        url = await _turn(http)
        task = await worker.begin(url.split("/")[4])
        await worker.say(task, "one ", "two ")
        async with follow(first.url + url) as before:
            await before.read_text(8)
            first.send(signal.SIGTERM)
            await worker.say(task, "three ")
            await before.read_to_end()
    assert await first.exited() == 0
    async with follow(second.url + url, last_event_id=before.last_event_id) as after:
        await worker.say(task, "four")
        await worker.finish(task)
        await after.read_to_end()
    assert before.text + after.text == "one two three four"
    ids = [event.id for event in before.events + after.events][:-1]
    assert ids == [f"1-{number}" for number in range(len(ids))]


@pytest.mark.requirement("GW-4")
async def test_readiness_goes_off_before_anything_closes(services: Services, worker: StandIn) -> None:
    gateway = await services.gateway(PRE_STOP_SECONDS="3")
    async with client_of(gateway) as http:
        url = await _turn(http)
        task = await worker.begin(url.split("/")[4])
        async with follow(gateway.url + url) as stream:
            await stream.read_until("text-start")
            gateway.send(signal.SIGTERM)
            await wait_until(lambda: _is_off(http), what="readiness is off")
            assert (await http.get("/healthz")).status_code == 200
            assert (await http.post("/api/chat/sessions", json={})).status_code == 201
            async with follow(gateway.url + url) as late:
                await worker.say(task, "still here")
                await stream.read_text(10)
                await late.read_text(10)
                await late.read_to_end()
            await stream.read_to_end()
    assert (stream.end, late.end) == ("broken", "broken")
    assert await gateway.exited() == 0


@pytest.mark.requirement("GW-4")
async def test_a_client_that_reads_nothing_and_a_second_sigterm_change_nothing_about_the_end(
    services: Services, worker: StandIn
) -> None:
    gateway = await services.gateway(DRAIN_SECONDS="2")
    async with client_of(gateway) as http:
        url = await _turn(http)
        task = await worker.begin(url.split("/")[4])
        address = httpx.URL(gateway.url)
        reader, writer = await asyncio.open_connection(address.host, address.port, limit=1024)
        writer.write(f"GET {url} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
        await reader.readline()
        for _ in range(100):
            await worker.say(task, "x" * 100_000)
        gateway.send(signal.SIGTERM)
        gateway.send(signal.SIGTERM)
        assert await gateway.exited(timeout=6) == 0
        writer.close()


async def _is_off(http: httpx.AsyncClient) -> bool:
    response = await http.get("/readyz?scope=gateway")
    return response.status_code == 503 and response.json()["checks"]["gateway"]["detail"] == "shutting down"
