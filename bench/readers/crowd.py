"""Clients that behave badly on bare sockets, and the memory of the process that has to bear them."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import psutil

_LOOK_SECONDS = 0.02
_MEGABYTE = 1024 * 1024


class Memory:
    """The resident memory of a process: before, and the highest since then."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._before = self.highest = self._now()

    def _now(self) -> int:
        return int(self._process.memory_info().rss)

    @property
    def added_now(self) -> float:
        return (self._now() - self._before) / _MEGABYTE

    @property
    def added_at_most(self) -> float:
        return (self.highest - self._before) / _MEGABYTE

    @asynccontextmanager
    async def watched(self) -> AsyncIterator["Memory"]:
        looking = asyncio.create_task(self._look())
        try:
            yield self
        finally:
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking

    async def _look(self) -> None:
        while True:
            self.highest = max(self.highest, self._now())
            await asyncio.sleep(_LOOK_SECONDS)


class Connection:
    """A connection whose client decides when it reads."""

    def __init__(self, url: str, *, receive_buffer: int | None = None) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname, parts.port)
        self._socket = socket.socket()
        self._socket.setblocking(False)
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)

    async def send(self, *pieces: bytes) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._socket, self._address)
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                await loop.sock_sendall(self._socket, piece)

    async def drink(self) -> int:
        """Read to the end of the connection, and keep nothing: how many bytes there were."""
        loop, seen = asyncio.get_running_loop(), 0
        with contextlib.suppress(ConnectionError):
            while data := await loop.sock_recv(self._socket, 256 * 1024):
                seen += len(data)
        return seen

    async def status(self) -> int:
        """Of the answer; 0 when there is none."""
        with contextlib.suppress(ConnectionError):
            head = await asyncio.get_running_loop().sock_recv(self._socket, 4096)
            return int(head.split(b" ", 2)[1]) if head else 0
        return 0

    def close(self) -> None:
        self._socket.close()


def get(path: str, *, close: bool = False) -> bytes:
    ending = "connection: close\r\n" if close else ""
    return f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{ending}\r\n".encode()


def post(path: str, length: int, **headers: str) -> bytes:
    named = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {length}\r\n{named}\r\n".encode()
