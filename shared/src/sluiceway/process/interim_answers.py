"""Interim answers (1xx, such as `103 Early Hints`) of servers that we call: few are read.

The HTTP clients read all that come before the answer, without a word and without a pause; a server may send them for
ever. They have no setting for it, so the bytes of a connection are looked at before the client has them.

Guarantees: of one request no more than MOST_INTERIM_ANSWERS are given to the client, then it fails, as one whose
server breaks the protocol. What comes behind the head of the answer is not looked at.
"""

import re
from importlib import import_module
from typing import Any

MOST_INTERIM_ANSWERS = 32
_MOST_HEAD_BYTES = 128 * 1024
"""More than the client takes for a head: it refuses that itself."""
_HEAD_END = re.compile(rb"\n\r?\n")
_INTERIM = re.compile(rb"\s*HTTP/\d\.\d[ \t]+1(?!01)\d\d\b")


def bound_interim_answers(client: Any) -> Any:
    """Of this client, httpx's or httpx2's, before its first request; or of its transport. The same comes back."""
    transports = [client]
    if hasattr(client, "_transport"):
        transports = [client._transport, *(mounted for mounted in client._mounts.values() if mounted is not None)]
    for transport in transports:
        pool = transport._pool
        core = import_module(type(pool).__module__.partition(".")[0])
        pool._network_backend = BoundedBackend(pool._network_backend, core.RemoteProtocolError)
    return client


class BoundedBackend:
    """A network backend of httpcore's, or httpcore2's; `refusal`: what is raised."""

    def __init__(self, backend: Any, refusal: type[Exception]) -> None:
        self._backend = backend
        self._refusal = refusal

    async def connect_tcp(self, *args: Any, **options: Any) -> Any:
        return _Bounded(await self._backend.connect_tcp(*args, **options), self._refusal)

    async def connect_unix_socket(self, *args: Any, **options: Any) -> Any:
        return _Bounded(await self._backend.connect_unix_socket(*args, **options), self._refusal)

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)


class _Bounded:
    """A connection. What is read behind something that was written is heads, up to the end of the first that is no
    interim answer's."""

    def __init__(self, stream: Any, refusal: type[Exception]) -> None:
        self._stream = stream
        self._refusal = refusal
        self._in_heads = False
        self._head = bytearray()
        self._seen = 0

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data: bytes = await self._stream.read(max_bytes, timeout)
        if self._in_heads:
            self._look_at(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._in_heads, self._seen = True, 0
        self._head.clear()
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(self, *args: Any, **options: Any) -> Any:
        return _Bounded(await self._stream.start_tls(*args, **options), self._refusal)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def _look_at(self, data: bytes) -> None:
        place = max(0, len(self._head) - 2)
        self._head += data
        begin = 0
        while (end := _HEAD_END.search(self._head, max(place, begin))) is not None:
            if _INTERIM.match(self._head, begin) is None:
                self._leave()
                return
            self._seen += 1
            if self._seen > MOST_INTERIM_ANSWERS:
                raise self._refusal("too many interim answers")
            begin = end.end()
        del self._head[:begin]
        if len(self._head) > _MOST_HEAD_BYTES:
            self._leave()

    def _leave(self) -> None:
        self._in_heads = False
        self._head.clear()
