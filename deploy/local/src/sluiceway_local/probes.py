"""Whether a process answers, asked over its own protocol, with nothing but sockets. False also covers "not yet"."""

import asyncio

TIMEOUT_SECONDS = 2.0


async def http_ok(port: int, path: str, host: str = "127.0.0.1") -> bool:
    """The path answers 200."""
    answer = await _ask(host, port, f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n")
    return answer.split(b"\r\n", 1)[0].split(b" ")[1:2] == [b"200"]


async def valkey_ok(port: int, password: str) -> bool:
    """PING is answered; not while it still loads its data."""
    answer = await _ask("127.0.0.1", port, f"AUTH {password}\r\nPING\r\nQUIT\r\n")
    return b"+PONG" in answer


async def _ask(host: str, port: int, request: str) -> bytes:
    """All that comes back until the other side closes; nothing when there is no other side."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(request.encode())
                return await reader.read()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""
