"""Which server is the primary now, as Sentinels know it, and connections that lead there.

Guarantees: all Sentinels are asked at once, and of those that answer the one that heard of the latest failover is
believed; a connection stands only with a server that says itself that it is a primary; within about two seconds of a
promotion no connection to another server is left, though nobody told it (a frozen one, or one that was cut off, says
nothing). The Sentinels that the URL names are asked, not others: name all of them.
Not guaranteed: that a primary that was cut off, with a client beside it, takes no writes meanwhile. That is what
`min-replicas-to-write` is for.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, ResponseError

from sluiceway.coalesced import Coalesced
from sluiceway.redis.asking import ask, first_answers, text_of, wants_nobody
from sluiceway.redis.connections import PlainConnection, TlsConnection
from sluiceway.redis.following import FollowingRedis, hang_up, open_connections
from sluiceway.redis.url import Node, RedisUrl

_PRIMARY = b"master"


class UnknownService(RedisConnectionError):
    """The Sentinels answer, and watch no service of that name: a person has to mend it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one Sentinel: how many failovers it has heard of, where the primary is since, and whether most Sentinels have
    found that one down."""

    failovers: int
    primary: Node
    down: bool


class Primary:
    """The primary of one URL. Those who ask at the same time ask once."""

    def __init__(self, url: RedisUrl) -> None:
        self._url = url
        self._asking: Coalesced[Node] = Coalesced()
        self.close = self._asking.close

    async def find(self) -> Node:
        """Raises RedisConnectionError where no Sentinel knows one, AuthenticationError, UnknownService."""
        return await self._asking.ask(self._ask_all)

    def url_of(self, node: Node) -> str:
        return self._url.url_of(node)

    async def _ask_all(self) -> Node:
        return self._newest(await first_answers(self._ask(node) for node in self._url.nodes))

    async def _ask(self, sentinel: Node) -> Answer:
        (told,) = await ask(self._url.sentinel_url(sentinel), ("SENTINEL", "MASTER", self._url.service))
        facts = _facts(told)
        down = "o_down" in facts["flags"].split(",")
        return Answer(int(facts["config-epoch"]), Node(facts["ip"], int(facts["port"])), down)

    def _newest(self, answers: list[Answer | BaseException]) -> Node:
        known = [answer for answer in answers if isinstance(answer, Answer)]
        if known:
            newest = max(known, key=lambda answer: (answer.failovers, answer.down))
            if newest.down:
                raise RedisConnectionError(f"the primary at {newest.primary} is down, and has no successor yet")
            return newest.primary
        for error in answers:
            if wants_nobody(error):
                raise error
            if isinstance(error, ResponseError) and "No such master" in str(error):
                raise UnknownService(f"the Sentinels of REDIS_URL watch no service '{self._url.service}'")
        reasons = {f"{type(error).__name__}: {error}" for error in answers}
        raise RedisConnectionError(f"no Sentinel of REDIS_URL answers ({'; '.join(sorted(reasons))})")


def _facts(told: Any) -> dict[str, str]:
    """By name: of RESP2 a flat list, of RESP3 a map."""
    pairs: Iterable[tuple[Any, Any]] = (
        told.items() if isinstance(told, dict) else zip(told[::2], told[1::2], strict=True)
    )
    return {text_of(name): text_of(value) for name, value in pairs}


class PrimaryConnection(PlainConnection):
    """A connection that asks, each time that it is made, where the primary is."""

    def __init__(self, *, primary: Primary, **options: Any) -> None:
        self._primary = primary
        super().__init__(**options)

    async def connect(self) -> None:
        if not self.is_connected:
            node = await self._primary.find()
            self.host, self.port = node.host, node.port
        await super().connect()  # type: ignore[no-untyped-call]

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        """What `connect` calls of redis-py; its `on_connect` is for others."""
        await super().on_connect_check_health(check_health=check_health)
        await self.send_command("ROLE", check_health=False)
        try:
            role = await self.read_response()
        except NoPermissionError:  # who does not tell its role is believed
            return
        if role[0] != _PRIMARY:
            raise RedisConnectionError(f"{self.host}:{self.port} is no primary, or not yet")


class TlsPrimaryConnection(PrimaryConnection, TlsConnection):
    """The same, by TLS."""


class PrimaryRedis(FollowingRedis):
    """A client of the primary. As long as it is open, it hangs up on every other server."""

    _primary: Primary

    @classmethod
    def leading_to(cls, primary: Primary, pool: ConnectionPool) -> Self:
        """A client of its own of that pool, whose connections are `PrimaryConnection`s."""
        client = cls(connection_pool=pool)
        client.auto_close_connection_pool = True
        client._primary = primary
        return client

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await self._primary.close()
        await super().aclose(close_connection_pool)

    async def _look(self) -> None:
        primary = await self._primary.find()
        for connection in open_connections(self.connection_pool):
            if isinstance(connection, PrimaryConnection) and Node(connection.host, connection.port) != primary:
                await hang_up(connection)
