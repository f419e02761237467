"""Proxies that spoil streams: one that keeps the answer until it has a lot of it, and one that cuts it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_CHUNK = 64 * 1024
_LAST_CHUNK = b"\r\n0\r\n\r\n"


@asynccontextmanager
async def spoiling(target_port: int, *, holds_bytes: int = 0, ends_behind: bytes | None = None) -> AsyncIterator[str]:
    """The address of a proxy to 127.0.0.1:`target_port`. What the server says is passed on when there are `holds_bytes`
    of it, or at its end; a connection is closed when the server has said `ends_behind`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            theirs, ours = await asyncio.open_connection("127.0.0.1", target_port)
            asking = asyncio.create_task(_pass(reader, ours, 0, None))
            try:
                await _pass(theirs, writer, holds_bytes, ends_behind)
            finally:
                asking.cancel()
                ours.close()
                writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _pass(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, holds_bytes: int, ends_behind: bytes | None
) -> None:
    held = b""
    while piece := await reader.read(_CHUNK):
        held += piece
        if len(held) >= holds_bytes or held.endswith(_LAST_CHUNK):
            writer.write(held)
            await writer.drain()
            held = b""
        if ends_behind is not None and ends_behind in piece:
            break
    writer.write(held)
    await writer.drain()
