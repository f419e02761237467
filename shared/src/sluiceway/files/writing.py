"""An object that is being written: it is there whole when it was completed, and nothing is when it was not.

Guarantees: an upload that is given up tells the store to drop the parts that it has. Nothing holds up the event loop,
nor a thread that others need: an upload may take minutes, so one with several parts has a thread of its own.
Not guaranteed: that of a process that is killed; a bucket needs a rule for incomplete uploads.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator

# Pieces between the event loop and the thread.
_MOST_WAITING = 4
_ABORT_SECONDS = 5.0

# Stores all of it, or raises and leaves nothing.
Put = Callable[[bytes | Iterator[bytes]], object]


class FileWriting:
    """`close` or `abort` has to be called. Both raise, as `write` does, what `put` raises. `part_bytes`: what is larger
    is put in parts."""

    def __init__(self, put: Put, part_bytes: int) -> None:
        self._put = put
        self._part_bytes = part_bytes
        self._held = bytearray()
        self._sending: _Sending | None = None

    async def write(self, piece: bytes) -> None:
        if self._sending is None:
            self._held += piece
            if len(self._held) <= self._part_bytes:
                return
            piece, self._held = bytes(self._held), bytearray()
            self._sending = _Sending(self._put)
        await self._sending.write(piece)

    async def close(self) -> None:
        """It is there when this has returned."""
        if self._sending is None:
            await asyncio.to_thread(self._put, bytes(self._held))
        else:
            await self._sending.close()

    async def abort(self) -> None:
        """It is to leave nothing. A store that is slow is not waited for."""
        if self._sending is not None:
            await self._sending.abort()


class _Aborted(Exception):
    pass


class _Sending:
    """A thread that puts what it is given. It is a daemon: one that is stuck in a store does not keep the process."""

    def __init__(self, put: Put) -> None:
        self._loop = asyncio.get_running_loop()
        self._pieces: queue.SimpleQueue[bytes | _Aborted | None] = queue.SimpleQueue()
        self._room = asyncio.Semaphore(_MOST_WAITING)
        self._ended: asyncio.Future[None] = self._loop.create_future()
        threading.Thread(target=self._run, args=(put,), name="upload", daemon=True).start()

    async def write(self, piece: bytes) -> None:
        await self._room.acquire()
        if self._ended.done():
            await self._ended
        self._pieces.put(piece)

    async def close(self) -> None:
        self._pieces.put(None)
        await asyncio.shield(self._ended)

    async def abort(self) -> None:
        self._pieces.put(_Aborted())
        await asyncio.wait([self._ended], timeout=_ABORT_SECONDS)

    def _run(self, put: Put) -> None:
        try:
            put(self._taken())
        except BaseException as error:  # noqa: BLE001 (it is raised where it is waited for)
            self._tell(self._end, error)
        else:
            self._tell(self._end, None)

    def _taken(self) -> Iterator[bytes]:
        while (piece := self._pieces.get()) is not None:
            if isinstance(piece, _Aborted):
                raise piece
            self._tell(self._room.release)
            yield piece

    def _end(self, error: BaseException | None) -> None:
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)
            self._ended.exception()  # nobody may ask
        self._room.release()

    def _tell(self, call: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            return  # the event loop has ended, and who would have heard it
