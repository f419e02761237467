"""A child process that is spoken to over its pipes: lines of JSON-RPC, each with a limit.

Guarantees
- A line that is longer than MAX_MESSAGE_BYTES is not kept, nor is one of more than MAX_VALUES read, nor a large one
  that comes too slowly. The call that it answers gets an error; where it cannot be told which one that is, the
  connection ends. A large one is read in a thread.
- The child ends with the context, within seconds: its input is closed, and what is still there gets SIGTERM and then
  SIGKILL, with its whole process group.

Source: the library's `stdio_client`, which keeps lines of any length.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TextIO

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from mcp import StdioServerParameters, types
from mcp.client.stdio import get_default_environment
from mcp.os.posix.utilities import terminate_posix_process_tree
from mcp.shared.message import SessionMessage

from tool_runner.mcp.edge import Edge, message_of
from tool_runner.mcp.large_messages import TOO_SLOW, Growing
from tool_runner.mcp.limits import MAX_MESSAGE_BYTES, TOO_LARGE, Values

_EXIT_SECONDS = 2.0
_KILL_SECONDS = 2.0
_FLUSH_SECONDS = 0.5
_POLL_SECONDS = 0.01
_EDGE_BYTES = 200
_GONE = (anyio.ClosedResourceError, anyio.BrokenResourceError, OSError)
# Where servers write the id of an answer: before the result, or behind it.
_ID_BEFORE = re.compile(rb'^\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d{1,18})\s*,')
_ID_BEHIND = re.compile(rb'"id"\s*:\s*(\d{1,18})\s*\}\s*$')


class _UnknownAnswer(Exception):
    """An answer was too large, and it cannot be told to which call."""


@dataclass(frozen=True)
class _Line:
    """Where it was `refused`, why: its beginning and its end."""

    text: bytearray
    tail: bytes
    refused: str | None

    def message(self) -> SessionMessage | Exception:
        """Raises _UnknownAnswer."""
        return _parsed(self.text) if self.refused is None else _refused(bytes(self.text), self.tail, self.refused)


class Lines:
    """Bytes to lines. Of a line that is refused only its edges are kept. `size`: of what has come of a line."""

    def __init__(self) -> None:
        self.size = 0
        self._line = bytearray()
        self._tail = b""
        self._values = Values()
        self._refused: str | None = None

    def feed(self, chunk: bytes) -> Iterable[_Line]:
        """Those that end in it."""
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            self._add(piece)
            if self.size:
                yield self._ended()
        self._add(rest)

    def refuse(self, why: str) -> None:
        """What has come of this line, and what is to come of it."""
        self._refused = why
        self._tail = bytes(self._line[-_EDGE_BYTES:])
        del self._line[_EDGE_BYTES:]

    def _add(self, piece: bytes) -> None:
        self.size += len(piece)
        if self._refused is not None:
            self._tail = (self._tail + piece[-_EDGE_BYTES:])[-_EDGE_BYTES:]
            return
        self._line += piece
        self._values.add(piece)
        if self.size > MAX_MESSAGE_BYTES or self._values.too_many:
            self.refuse(TOO_LARGE)

    def _ended(self) -> _Line:
        line = _Line(self._line, self._tail, self._refused)
        self.size, self._line, self._tail, self._values, self._refused = 0, bytearray(), b"", Values(), None
        return line


@asynccontextmanager
async def over_pipes(parameters: StdioServerParameters, errlog: TextIO, edge: Edge) -> AsyncIterator[tuple[Any, Any]]:
    """Yields the (read, write) streams that `mcp.Client` takes. Raises OSError, ValueError: it cannot be started."""
    process = await anyio.open_process(
        [parameters.command, *parameters.args],
        env=get_default_environment() | (parameters.env or {}),
        stderr=errlog,
        cwd=parameters.cwd,
        start_new_session=True,
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("a child process without pipes")
    # No await until the group is entered: a cancel in between would leave the child to nobody.
    to_session, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, from_session = anyio.create_memory_object_stream[SessionMessage](0)
    written = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(_read, process.stdout, to_session, edge)
        group.start_soon(_write, process.stdin, from_session, to_session, written)
        try:
            yield read, write
        finally:
            with anyio.CancelScope(shield=True):
                read.close()
                write.close()
                with anyio.move_on_after(_FLUSH_SECONDS):
                    await written.wait()
                await _stopped(process)
                for stream in (to_session, from_session):
                    stream.close()
            group.cancel_scope.cancel()


async def _read(stdout: ByteReceiveStream, to_session: Any, edge: Edge) -> None:
    reading = _Reading(stdout, edge)
    try:
        with suppress(anyio.EndOfStream, _UnknownAnswer, *_GONE):
            async with to_session:
                async for message in reading.messages():
                    await to_session.send(message)
    finally:
        reading.end()
    await _drained(stdout)


class _Reading:
    def __init__(self, stdout: ByteReceiveStream, edge: Edge) -> None:
        self._stdout = stdout
        self._edge = edge
        self._lines = Lines()
        self._growing = Growing(edge.enter)

    async def messages(self) -> AsyncIterator[SessionMessage | Exception]:
        """What the session shall have. Raises what `receive` raises, and _UnknownAnswer."""
        while True:
            chunk = await self._chunk()
            await self._growing.grow(self._lines.size + len(chunk))
            for line in self._lines.feed(chunk):
                place = self._growing.over()
                if place is None:
                    message = line.message()
                else:
                    message = await asyncio.to_thread(line.message)
                    self._edge.keep(message, place)
                if self._edge.received(message):
                    yield message

    def end(self) -> None:
        self._growing.leave()

    async def _chunk(self) -> bytes:
        try:
            async with asyncio.timeout_at(self._growing.until):
                return await self._stdout.receive()
        except TimeoutError:
            self._lines.refuse(TOO_SLOW)
            self._growing.leave()
            return b""


async def _drained(stdout: ByteReceiveStream) -> None:
    """A child that is still writing would not see that its input ended."""
    with suppress(anyio.EndOfStream, *_GONE):
        while True:
            await stdout.receive()


async def _write(stdin: ByteSendStream, from_session: Any, to_session: Any, written: anyio.Event) -> None:
    try:
        async with from_session:
            async for message in from_session:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                await stdin.send(f"{text}\n".encode(errors="replace"))
    except _GONE:
        await to_session.aclose()  # the session learns of the end, instead of waiting for ever
    finally:
        written.set()


async def _stopped(process: Process) -> None:
    await _closed(process.stdin)
    if not await _ended(process, _EXIT_SECONDS):
        await terminate_posix_process_tree(process, _KILL_SECONDS)
        await _ended(process, _KILL_SECONDS)
    await _closed(process.stdout)
    # A descendant may hold the pipe open, and the transport with it; only this closes it.
    transport = getattr(getattr(process, "_process", None), "_transport", None)
    if transport is not None:
        with suppress(PermissionError):
            transport.close()


async def _closed(stream: ByteSendStream | ByteReceiveStream | None) -> None:
    if stream is not None:
        with suppress(*_GONE):
            await stream.aclose()


async def _ended(process: Process, seconds: float) -> bool:
    """Not by waiting for it: that waits for the end of its pipes, which a grandchild may have."""
    with anyio.move_on_after(seconds):
        while process.returncode is None:  # noqa: ASYNC110 - nothing tells of it
            await anyio.sleep(_POLL_SECONDS)
    return process.returncode is not None


def _parsed(line: bytearray) -> SessionMessage | Exception:
    try:
        return SessionMessage(message_of(line))
    except ValueError as error:
        return error


def _refused(beginning: bytes, end: bytes, why: str) -> SessionMessage:
    found = _ID_BEFORE.search(beginning[:_EDGE_BYTES]) or _ID_BEHIND.search(end)
    if found is None:
        raise _UnknownAnswer
    error = types.ErrorData(code=types.PARSE_ERROR, message=why)
    return SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=int(found[1]), error=error))
