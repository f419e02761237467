"""A TCP proxy that can be told to break: between a service and Redis or Postgres, or between a primary and its replica.

It runs in the test's own event loop: nothing passes while a test blocks that. What it passes on it passes on unchanged
and in order; what it holds back is passed on after `release`. Connections are broken by a reset (RST), as by a node
that vanished; a polite end of one side is passed on as such.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Literal, Self

_CHUNK = 64 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

# What becomes of bytes that a client has sent. `cut_before`: the server never gets them, both sides are reset.
# `cut_after`: the server gets them and answers, nobody ever sees the answer, and both sides are reset.
Fate = Literal["pass", "cut_before", "cut_after"]
Hook = Callable[[bytes], Fate]


class Proxy:
    """Listens on a free port of 127.0.0.1, `port`, and passes on to 127.0.0.1:`target_port`.

    `on_client_bytes` is asked about each piece that a client sends, up to 64 KiB as they were read. `connections`: how
    many are open; `accepted`: how many ever were.
    """

    def __init__(self, target_port: int, *, on_client_bytes: Hook | None = None) -> None:
        self.target_port = target_port
        self.on_client_bytes = on_client_bytes
        self.port = 0
        self.accepted = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._links: set[_Link] = set()
        self._listening: asyncio.Server | None = None
        # Bound for as long as the proxy lives, so that the port stays ours while nobody is admitted.
        self._place: socket.socket | None = None

    @property
    def connections(self) -> int:
        return len(self._links)

    async def start(self) -> None:
        self._place = _bound(0)
        self.port = self._place.getsockname()[1]
        await self.admit()

    async def stop(self) -> None:
        await self.refuse()
        links = list(self._links)
        self.reset_all()
        await asyncio.gather(*(link.task for link in links), return_exceptions=True)
        if self._place is not None:
            self._place.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def retarget(self, port: int) -> None:
        """New connections go there. Open ones stay where they are: see `reset_all`."""
        self.target_port = port

    def reset_all(self) -> None:
        """Reset every open connection, on both sides."""
        for link in list(self._links):
            link.reset()

    def hold(self) -> None:
        """Accept, and pass nothing on, in either direction: a network that swallows."""
        self._flowing.clear()

    def release(self) -> None:
        """Pass on again, beginning with what was held."""
        self._flowing.set()

    async def refuse(self) -> None:
        """Let nobody connect: they are refused. Open connections stay."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    async def admit(self) -> None:
        """Let them connect again."""
        if self._listening is None:
            self._listening = await asyncio.start_server(self._accept, sock=_bound(self.port), backlog=1024)

    async def flowing(self) -> None:
        await self._flowing.wait()

    def judge(self) -> Hook:
        """Who is asked about what the client of one new connection sends; a proxy of one protocol has its own."""
        return lambda data: self.on_client_bytes(data) if self.on_client_bytes else "pass"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        link = _Link(self, reader, writer, task)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)


class _Link:
    """One client's connection and the one to the server that belongs to it."""

    def __init__(
        self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, task: asyncio.Task[None]
    ) -> None:
        self.task = task
        self._proxy = proxy
        self._reader = reader
        self._writers = [writer]
        self._judge = proxy.judge()
        self._swallowing = False
        self._reset = asyncio.Event()

    async def run(self) -> None:
        """Pass on until one side ends or the link is reset."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._proxy.target_port)
        except OSError:
            self._reset_sockets()
            return
        self._writers.append(writer)
        await self._pass_on(
            asyncio.create_task(self._from_client(self._reader, writer)),
            asyncio.create_task(self._from_server(reader, self._writers[0])),
            asyncio.create_task(self._reset.wait()),
        )

    async def _pass_on(self, *tasks: asyncio.Task[object]) -> None:
        """Until one of the tasks ends; then all of them do."""
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            if self._reset.is_set() or any(isinstance(end, OSError) for end in ends):
                self._reset_sockets()
            for writer in self._writers:
                writer.close()

    def reset(self) -> None:
        self._reset.set()
        self._reset_sockets()

    def _reset_sockets(self) -> None:
        for writer in self._writers:
            connection = writer.get_extra_info("socket")
            if not writer.transport.is_closing():
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                writer.transport.abort()

    async def _from_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            await self._proxy.flowing()
            fate = self._judge(data)
            if fate == "cut_before":
                raise ConnectionResetError
            self._swallowing = self._swallowing or fate == "cut_after"
            writer.write(data)
            await writer.drain()

    async def _from_server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            await self._proxy.flowing()
            if self._swallowing:
                raise ConnectionResetError
            writer.write(data)
            await writer.drain()


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound
