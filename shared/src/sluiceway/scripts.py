"""Running the Lua scripts of `lua/`, one file each; a file's head says its keys, arguments and answer.

A line `-- include ROOM/NAME` stands for what is in that file. Comments and margins are not sent.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from importlib import resources
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError

from sluiceway.errors import RedisUnavailable
from sluiceway.redis.client import command, is_away, redis_errors
from sluiceway.redis.cluster import ClusterPipeline, ClusterRedis

Argument = str | bytes | int | float


_INCLUDE = re.compile(r"^-- include (\S+)$", re.MULTILINE)
_UNSENT = re.compile(r"^ *--.*\n|^ +", re.MULTILINE)


@cache
def source(name: str) -> str:
    text = (resources.files("sluiceway") / "lua" / f"{name}.lua").read_text()
    return _UNSENT.sub("", _INCLUDE.sub(lambda found: source(found[1]), text))


@cache
def digest(name: str) -> str:
    return sha1(source(name).encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Call:
    """One script call: the script's name, its keys (of one slot) and its arguments."""

    script: str
    keys: Sequence[str]
    arguments: Sequence[Argument]

    def command(self) -> tuple[Argument, ...]:
        return ("EVALSHA", digest(self.script), len(self.keys), *self.keys, *self.arguments)


class Scripts:
    """Runs scripts on a client; a server that does not know a script (new, failed over, flushed) is taught it."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.round_trips = 0

    async def run(self, script: str, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Any:
        """One call, one round trip. Raises RedisUnavailable when Redis is away."""
        call = Call(script, keys, arguments)
        self.round_trips += 1
        try:
            return await command(self._redis, *call.command())
        except NoScriptError:
            await command(self._redis, "SCRIPT LOAD", source(script))
            return await command(self._redis, *call.command())

    async def run_many(self, calls: Sequence[Call], *, each: bool = False) -> list[Any]:
        """Many calls, one round trip. Each answer stands in its call's place, or the ResponseError it got.

        Raises RedisUnavailable when Redis is away: then any of the calls may or may not have been carried out. `each`:
        where that is one node of a cluster, and others answer, it stands in the places of that node's calls instead.
        """
        isolated = each and isinstance(self._redis, ClusterRedis)
        async with redis_errors(self._redis):
            answers = await self._run_many(calls, isolated)
        if not isolated:
            return answers
        return [RedisUnavailable(str(answer)) if _is_no_answer(answer) else answer for answer in answers]

    async def _run_many(self, calls: Sequence[Call], isolated: bool) -> list[Any]:
        answers = await self._pipeline(calls, isolated)
        unknown = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            for name in {calls[place].script for place in unknown}:
                await self._redis.script_load(source(name))
            told = await self._pipeline([calls[place] for place in unknown], isolated)
            for place, answer in zip(unknown, told, strict=True):
                answers[place] = answer
        return answers

    async def _pipeline(self, calls: Sequence[Call], isolated: bool) -> list[Any]:
        self.round_trips += 1
        pipeline: Any = self._redis.pipeline(transaction=False)
        if isolated and isinstance(self._redis, ClusterRedis):
            pipeline = ClusterPipeline(self._redis, isolated=True)
        async with pipeline as pipe:
            for call in calls:
                pipe.execute_command(*call.command())
            answers: list[Any] = await pipe.execute(raise_on_error=False)
        away = [answer for answer in answers if _is_no_answer(answer)]
        if away and (not isolated or len(away) == len(answers)):
            raise away[0]
        return answers


def _is_no_answer(answer: Any) -> bool:
    return isinstance(answer, Exception) and (is_away(answer) or not isinstance(answer, ResponseError))
