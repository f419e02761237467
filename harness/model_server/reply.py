"""One HTTP response on its way: status, chunked body, server-sent events, and the ways to break them."""

import asyncio
import json
import socket
import struct
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

SPLIT_PAUSE_SECONDS = 0.0005
"""Between the pieces of a split write, so that the reader most likely gets them one by one."""


@dataclass(slots=True)
class Framing:
    newline: bytes = b"\n"
    split: int = 0
    merge: int = 0


class Reply:
    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._gathered: list[bytes] = []
        self.framing = Framing()
        self.began = False

    def begin(self, content_type: str = "text/event-stream; charset=utf-8") -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
            % content_type.encode()
        )
        self.began = True

    def whole(self, status: int, body: bytes, content_type: str, headers: dict[str, str]) -> None:
        """A response with its length, not streamed."""
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"content-type: {content_type}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"content-length: {len(body)}", "", ""]
        self._transport.write("\r\n".join(lines).encode() + body)
        self.began = True

    def json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.whole(status, json.dumps(value).encode(), "application/json", headers or {})

    @property
    def plain(self) -> bool:
        """Whether events may be written as one precomputed piece each."""
        return not self.framing.split and not self.framing.merge

    def framed(self, data: bytes) -> bytes:
        """An event with its line ends."""
        return b"data: %s%s%s" % (data, self.framing.newline, self.framing.newline)

    def chunked(self, data: bytes) -> bytes:
        """Bytes of the body as one chunk of the chunked coding."""
        return b"%x\r\n%s\r\n" % (len(data), data)

    def write_raw(self, data: bytes) -> None:
        """At once, past framing and chunked coding."""
        self._transport.write(data)

    async def event(self, data: bytes) -> None:
        await self.body(self.framed(data))

    async def line(self, line: bytes) -> None:
        await self.body(line + self.framing.newline)

    async def body(self, data: bytes) -> None:
        """Bytes of the body, gathered or torn apart as the framing says."""
        if self.framing.merge:
            self._gathered.append(data)
            if len(self._gathered) < self.framing.merge:
                return
            data = self._take_gathered()
        await self._write_body(data)

    async def flush(self) -> None:
        if self._gathered:
            await self._write_body(self._take_gathered())

    def _take_gathered(self) -> bytes:
        data = b"".join(self._gathered)
        self._gathered.clear()
        return data

    async def _write_body(self, data: bytes) -> None:
        size = self.framing.split or len(data)
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            self._transport.write(self.chunked(piece))
            if self.framing.split:
                await asyncio.sleep(SPLIT_PAUSE_SECONDS)

    async def end(self) -> None:
        await self.flush()
        self._transport.write(b"0\r\n\r\n")

    def close(self) -> None:
        """TCP close, after what was written."""
        self._transport.close()

    def reset(self) -> None:
        """TCP reset: the client's next read fails, and what it has not read yet may be lost."""
        sock: socket.socket = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()
