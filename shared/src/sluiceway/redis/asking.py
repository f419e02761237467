"""Asking several servers the same at once: Sentinels where the primary is, nodes of a cluster who has which slots."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeGuard, TypeVar

from redis.asyncio.connection import Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from sluiceway.cancelling import cancelled
from sluiceway.redis.connections import of_ours

T = TypeVar("T")
_ANSWER_SECONDS = 1.0
# After the first answer: how long another one, that knows better, is waited for.
_MORE_SECONDS = 0.05


def wants_nobody(error: object) -> TypeGuard[RedisError]:
    """Whether a server refuses whom REDIS_URL names. One without a password starts in protected mode: it says DENIED to
    every other machine, and hangs up."""
    denied = isinstance(error, ResponseError) and str(error).startswith("DENIED ")
    return denied or isinstance(error, AuthenticationError | NoPermissionError)


async def ask(url: str, *many: Sequence[str]) -> list[Any]:
    """The answers to some commands, as they come. Raises RedisError, OSError, TimeoutError."""
    options: dict[str, Any] = {**parse_url(url)}
    kind = of_ours(options.pop("connection_class", Connection))
    connection = kind(**options, socket_timeout=_ANSWER_SECONDS, retry=Retry(NoBackoff(), 0))
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            await connection.connect()
            answers = []
            for command in many:
                await connection.send_command(*command)
                answers.append(await connection.read_response())
            return answers
    finally:
        await connection.disconnect(nowait=True)


async def first_answers(asking: Iterable[Coroutine[Any, Any, T]]) -> list[T | BaseException]:
    """Of those that have answered, or failed, a moment after the first that has answered."""
    tasks = [asyncio.create_task(one, name="asking") for one in asking]
    waiting, answers = set(tasks), list[T | BaseException]()
    patience: float | None = None
    try:
        while waiting:
            done, waiting = await asyncio.wait(waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                break
            answers += [one.exception() or one.result() for one in done]
            if any(not isinstance(answer, BaseException) for answer in answers):
                patience = _MORE_SECONDS
    finally:
        await cancelled(tasks)
    return answers


def text_of(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
