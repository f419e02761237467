"""A server that says `103 Early Hints` for ever, instead of an answer, before any of the clients that we call servers
with: each gives up, and soon."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpcore
import httpx
import httpx2
import pytest
from chat_worker.langfuse import client_of
from chat_worker.settings import Settings
from gateway.api.problems import IdentityProviderUnavailable
from gateway.callers.jwks import ProviderKeys
from sluiceway.process.interim_answers import MOST_INTERIM_ANSWERS, BoundedBackend, bound_interim_answers
from sluiceway_llm.calling.model import Model
from sluiceway_llm.model_errors import ModelUnavailable
from tool_runner.mcp.edge import Edge
from tool_runner.mcp.http_bodies import BoundedTransport
from tool_runner.mcp.large_messages import places
from tool_runner.tools.web.addresses import Guard
from tool_runner.tools.web.client import FetchFailed, WebClient

HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{"data": []}'
REASON = "too many interim answers"
MOST_SENT_BYTES = 64 * 1024 * 1024


class Server:
    """`hints`: before each answer; None: without end. `sent`: how many bytes were taken of them."""

    def __init__(self, hints: int | None) -> None:
        self._hints = hints
        self.sent = 0
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Server"]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                if self._hints is not None:
                    # A byte at a time, so that the ends of heads come in pieces.
                    for byte in HINT * self._hints + ANSWER:
                        writer.write(bytes([byte]))
                        await writer.drain()
                while self._hints is None and self.sent < MOST_SENT_BYTES:
                    writer.write(HINT * 1000)
                    self.sent += len(HINT) * 1000
                    await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def by_httpx(url: str) -> None:
    async with bound_interim_answers(httpx.AsyncClient()) as client:
        await client.get(url)


async def by_httpx2(url: str) -> None:
    async with bound_interim_answers(httpx2.AsyncClient()) as client:
        await client.get(url)


async def by_langfuse(url: str) -> None:
    async with client_of(Settings()) as client:
        await client.get(url)


async def by_mcp(url: str) -> None:
    async with httpx2.AsyncClient(transport=BoundedTransport(Edge("h", places(), lambda: None))) as client:
        await client.get(url)


async def by_web_fetch(url: str) -> None:
    await WebClient(Guard(["127.0.0.1"]), seconds=20, max_bytes=1000).fetch(url)


async def by_provider_keys(url: str) -> None:
    async with ProviderKeys.opened(url, None) as keys:
        await keys.find("k", "RS256")


async def by_model(url: str) -> None:
    async with Model(url, "k", first_chunk_timeout=20) as model:
        await model.probe()


CLIENTS: list[tuple[Callable[[str], Awaitable[None]], type[Exception]]] = [
    (by_httpx, httpx.RemoteProtocolError),
    (by_httpx2, httpx2.RemoteProtocolError),
    (by_langfuse, httpx2.RemoteProtocolError),
    (by_mcp, httpx2.RemoteProtocolError),
    (by_web_fetch, FetchFailed),
    (by_provider_keys, IdentityProviderUnavailable),
    (by_model, ModelUnavailable),
]


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize(("client", "refusal"), CLIENTS, ids=[client.__name__ for client, _ in CLIENTS])
async def test_hints_without_end_are_given_up(
    client: Callable[[str], Awaitable[None]], refusal: type[Exception], capfd: pytest.CaptureFixture[str]
) -> None:
    async with Server(None).running() as server:
        with pytest.raises(refusal) as refused:
            await client(server.url)
    # For this reason, and for no other: a client that had read on would in time be refused too, by its clock.
    told = [str(error) for error in _causes(refused.value)] + [capfd.readouterr().out]
    assert any(REASON in words for words in told)


async def test_a_few_hints_before_each_answer_are_none_of_our_business() -> None:
    async with Server(MOST_INTERIM_ANSWERS).running() as server:
        clients: list[Any] = [httpx.AsyncClient(), httpx2.AsyncClient()]
        for client in clients:
            async with bound_interim_answers(client):
                answers = [await client.get(server.url) for _ in range(3)]
            assert [answer.json() for answer in answers] == [{"data": []}] * 3
        backend: Any = BoundedBackend(httpcore.AnyIOBackend(), httpcore.RemoteProtocolError)
        async with httpcore.AsyncConnectionPool(network_backend=backend) as pool:
            assert (await pool.request("GET", server.url)).content == b'{"data": []}'
        async with Model(server.url, "k") as model:
            await model.probe()
            await model.probe()
