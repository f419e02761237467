"""Connections to one server that can be cancelled at any moment.

redis-py's own send through `asyncio.wait_for`, which before Python 3.12 loses a cancellation that comes as it ends: a
task that is to stop goes on for ever, and a time limit around it does not end. (It also makes a task of each send.)
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError


class _Sending(AbstractConnection):
    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        """Raises RedisTimeoutError, RedisConnectionError; it is closed then, and where it was cancelled."""
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if check_health:
            await self.check_health()  # type: ignore[no-untyped-call]
        whole = command.encode() if isinstance(command, str) else command
        try:
            async with asyncio.timeout(self.socket_timeout):
                await self._send_packed_command([whole] if isinstance(whole, bytes) else whole)
        except BaseException as error:
            if self._writer is not None:
                self._writer.transport.abort()  # what is left of the half command is of no use to anybody
            await self.disconnect(nowait=True)
            if isinstance(error, TimeoutError):
                raise RedisTimeoutError("Timeout writing to socket") from None
            if isinstance(error, OSError):
                raise RedisConnectionError(f"Error while writing to socket: {error}") from error
            raise


class PlainConnection(_Sending, Connection):
    """By TCP."""


class TlsConnection(_Sending, SSLConnection):
    """By TLS."""


class UnixConnection(_Sending, UnixDomainSocketConnection):
    """By a Unix socket."""


def of_ours(kind: type[AbstractConnection]) -> type[Any]:
    """What stands in for a connection of redis-py's."""
    return next(one for one in (PlainConnection, TlsConnection, UnixConnection) if issubclass(one, kind))
