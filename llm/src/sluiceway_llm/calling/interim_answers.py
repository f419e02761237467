"""Interim answers (1xx, such as `103 Early Hints`) of a model's server: few are read, as aiohttp would read any number
of them, without a pause, before the answer.

Guarantees: of one request no more than MOST_INTERIM_ANSWERS are kept. Then its connection is closed, and the server is
away.
"""

from asyncio import AbstractEventLoop, get_running_loop
from functools import partial
from typing import Any

import aiohttp
import httpx2
from aiohttp.client_proto import ResponseHandler

MOST_INTERIM_ANSWERS = 32


def bound_interim_answers(client: httpx2.AsyncClient) -> None:
    """Of this client, openai's over aiohttp, before its first request."""
    transports: list[Any] = [client._transport, *client._mounts.values()]
    for transport in transports:
        if transport is not None:
            transport.client = session = transport.get_client()
            session.connector._factory = partial(_Handler, loop=get_running_loop())


class _Handler(ResponseHandler):
    def __init__(self, loop: AbstractEventLoop) -> None:
        super().__init__(loop)
        self._interim = 0

    def feed_data(self, data: Any, size: int = 0) -> None:
        message, _ = data
        self._interim = self._interim + 1 if 100 <= message.code < 200 and message.code != 101 else 0
        if self._interim <= MOST_INTERIM_ANSWERS:
            super().feed_data(data, size)
        elif self.transport is not None and not self.transport.is_closing():
            self.set_exception(aiohttp.ServerDisconnectedError("too many interim answers"))
            self.transport.close()
