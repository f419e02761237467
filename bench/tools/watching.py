"""A turn begun over HTTP and read to its end, without the price of a real client."""

import asyncio
import json
import time
from urllib.parse import urlsplit


async def watched(url: str, session_id: str, text: str) -> bytes:
    """The whole response. Raises RuntimeError where the turn did not end well."""
    address = urlsplit(url)
    body = json.dumps({"id": f"m-{time.monotonic_ns()}", "message": text}).encode()
    head = (
        f"POST /api/chat/sessions/{session_id}/stream HTTP/1.1\r\nhost: {address.netloc}\r\nconnection: close\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(head.encode() + body)
    response = await reader.read()
    writer.close()
    if b"[DONE]" not in response or b'"errorText"' in response:
        raise RuntimeError(f"a turn did not end well: {response[-500:]!r}")
    return response
