"""Keeps clients busy: so many turns under way at any time, from the first until all have been asked and answered."""

import asyncio
import random
import socket
from collections.abc import Mapping, Sequence
from typing import TypeVar

import httpx

from chaos.clients import CLIENTS
from chaos.ledger import Ledger, Turn
from chaos.questions import Kind, ask

T = TypeVar("T")

_TIMEOUT = httpx.Timeout(10, read=25)
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=50)


class Load:
    """`kinds`, `clients`: what is asked by whom, with weights. `name`: makes the turns' keys unique. `web`: where
    hostile pages are."""

    def __init__(
        self,
        gateways: Sequence[str],
        ledger: Ledger,
        name: str,
        seed: int,
        kinds: Mapping[Kind, int],
        clients: Mapping[str, int],
        at_once: int,
        limit_seconds: float,
        web: str,
    ) -> None:
        self._gateways = list(gateways)
        self._ledger = ledger
        self._name = name
        self._seed = seed
        self._kinds = kinds
        self._clients = clients
        self._at_once = at_once
        self._limit_seconds = limit_seconds
        self._web = web

    async def run(self, turns: int, faults_are_over: asyncio.Event) -> None:
        """Until so many turns were asked, and the faults are over, and every client has its answer or has given up."""
        places = asyncio.Semaphore(self._at_once)
        async with http_client() as http, http_client(receive_buffer=4096) as narrow, asyncio.TaskGroup() as group:
            while len(self._ledger.turns) < turns or not faults_are_over.is_set():
                await places.acquire()
                group.create_task(self._one(len(self._ledger.turns), http, narrow)).add_done_callback(
                    lambda _: places.release()
                )
                await asyncio.sleep(0)

    async def _one(self, number: int, http: httpx.AsyncClient, narrow: httpx.AsyncClient) -> None:
        rng = random.Random(f"{self._seed}/{self._name}/{number}")
        question = ask(f"{self._name}-{number}", _choice(rng, self._kinds), rng, self._web)
        kind = CLIENTS[_choice(rng, self._clients)]
        turn = Turn(question, kind.name, f"m-{self._seed}-{question.key}")
        self._ledger.turns.append(turn)
        client = kind(narrow if kind.name == "slow" else http, self._gateways, turn, rng)
        await client.run(self._limit_seconds)


def http_client(receive_buffer: int | None = None) -> httpx.AsyncClient:
    """With `receive_buffer`: the kernel takes little for a client that reads slowly."""
    options = [] if receive_buffer is None else [(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)]
    transport = httpx.AsyncHTTPTransport(limits=_LIMITS, socket_options=options)
    return httpx.AsyncClient(transport=transport, timeout=_TIMEOUT, trust_env=False)


def _choice(rng: random.Random, weights: Mapping[T, int]) -> T:
    return rng.choices(list(weights), list(weights.values()))[0]
