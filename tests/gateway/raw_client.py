"""An event stream client on a bare socket: it decides itself when to read, and with how small a window.

The chunked framing is undone here, so that a body that was ended is told from one whose connection broke.
"""

import asyncio
import socket
from collections.abc import AsyncIterator


class RawClient:
    """One connection. `status` is known after `open`; `ended_cleanly` once `frames` has run out."""

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        self._port = port
        self._socket = socket.socket()
        self._socket.setblocking(False)
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._raw = b""
        self.status = 0
        self.bytes_read = 0
        self.ended_cleanly = False

    async def open(self, path: str, *, last_event_id: str | None = None) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._socket, ("127.0.0.1", self._port))
        cursor = f"Last-Event-ID: {last_event_id}\r\n" if last_event_id else ""
        await loop.sock_sendall(self._socket, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{cursor}\r\n".encode())
        while b"\r\n\r\n" not in self._raw:
            if not await self._receive():
                raise ConnectionError("no answer")
        head, _, self._raw = self._raw.partition(b"\r\n\r\n")
        self.status = int(head.split(b" ", 2)[1])

    async def frames(self) -> AsyncIterator[bytes]:
        """Every frame, without the blank line after it. Ends where the response does, one way or the other."""
        body = b""
        while (chunk := await self._chunk()) is not None:
            *frames, body = (body + chunk).split(b"\n\n")
            for frame in frames:
                yield frame

    async def events(self) -> AsyncIterator[tuple[str, bytes]]:
        """Id and data of every event but [DONE]. Comments and `retry:` stand before an id."""
        async for frame in self.frames():
            _, found, event = (b"\n" + frame).partition(b"\nid: ")
            if found:
                entry_id, _, data = event.partition(b"\ndata: ")
                yield entry_id.decode(), data

    def close(self) -> None:
        self._socket.close()

    async def _chunk(self) -> bytes | None:
        while b"\r\n" not in self._raw:
            if not await self._receive():
                return None
        size, _, rest = self._raw.partition(b"\r\n")
        length = int(size, 16)
        while len(rest) < length + 2:
            self._raw = rest
            if not await self._receive():
                return None
            rest = self._raw
        self._raw = rest[length + 2 :]
        self.ended_cleanly = length == 0
        return rest[:length] if length else None

    async def _receive(self) -> bool:
        try:
            data = await asyncio.get_running_loop().sock_recv(self._socket, 65536)
        except ConnectionError:
            return False
        self._raw += data
        self.bytes_read += len(data)
        return bool(data)
