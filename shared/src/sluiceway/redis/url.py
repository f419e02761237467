"""What REDIS_URL says: which servers, of which topology, and how to log in.

    redis://USER:PASSWORD@HOST:PORT/DB?OPTIONS               one server, or one address of it; rediss:// by TLS; unix://PATH
    redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/SERVICE/DB?OPTIONS
                                                             the primary that Sentinels know under that name
    redis+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT?OPTIONS  a Redis Cluster, found by any of these nodes

User and password are Redis's. Those of the Sentinels are the options `sentinel_username` and `sentinel_password`. All
other options are redis-py's; those of TLS (`ssl_…`) count for the Sentinels, too, with rediss+sentinel://.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from redis.asyncio.connection import parse_url

Topology = Literal["single", "sentinel", "cluster"]
# What schemes there are: the topology, and whether it is by TLS.
_SCHEMES: dict[str, tuple[Topology, bool]] = {
    "redis": ("single", False),
    "rediss": ("single", True),
    "unix": ("single", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
_PORTS: dict[Topology, int] = {"single": 6379, "sentinel": 26379, "cluster": 6379}
_OF_SENTINELS = {"sentinel_username": "username", "sentinel_password": "password"}
_OF_TLS = "ssl_"


@dataclass(frozen=True, slots=True)
class Node:
    """Where one server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """`plain`: the URL itself where it is of one server; else what is before, and what is behind, a server's address in
    the URLs of each. `nodes`: those that it names; none for one server."""

    topology: Topology
    plain: str
    before: str = ""
    behind: str = ""
    nodes: tuple[Node, ...] = ()
    service: str = ""
    sentinel_before: str = ""
    sentinel_behind: str = ""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises ValueError, without the password in it, where it is no such URL."""
        try:
            parts = urlsplit(url)
        except ValueError:
            raise ValueError("is no URL") from None
        if parts.scheme not in _SCHEMES:
            raise ValueError(f"is no {', '.join(f'{scheme}://' for scheme in _SCHEMES)} URL")
        topology, tls = _SCHEMES[parts.scheme]
        if topology == "single":
            _checked(url)
            return cls(topology, url)
        scheme = "rediss" if tls else "redis"
        return cls._of_sentinels(parts, scheme) if topology == "sentinel" else cls._of_cluster(parts, scheme)

    @classmethod
    def _of_cluster(cls, parts: SplitResult, scheme: str) -> Self:
        login, hosts = _login_and_hosts(parts)
        if parts.path.strip("/") not in ("", "0"):
            raise ValueError("names a database: a cluster has one, 0")
        nodes = tuple(_nodes(hosts, _PORTS["cluster"]))
        options = f"?{parts.query}" if parts.query else ""
        found = cls("cluster", "", before=f"{scheme}://{login}", behind=options, nodes=nodes)
        _checked(found.url_of(nodes[0]))
        return found

    @classmethod
    def _of_sentinels(cls, parts: SplitResult, scheme: str) -> Self:
        login, hosts = _login_and_hosts(parts)
        service, _, database = parts.path.strip("/").partition("/")
        if not service:
            raise ValueError("names no service behind the Sentinels, as in …/SERVICE/DB")
        if not (database or "0").isdecimal():
            raise ValueError("has a database that is no number")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        sentinel_login = {_OF_SENTINELS[name]: options.pop(name) for name in _OF_SENTINELS if name in options}
        tls_options = {name: value for name, value in options.items() if name.startswith(_OF_TLS)}
        found = cls(
            topology="sentinel",
            plain="",
            before=f"{scheme}://{login}",
            behind=f"/{database or 0}{_query(options)}",
            nodes=tuple(_nodes(hosts, _PORTS["sentinel"])),
            service=unquote(service),
            sentinel_before=f"{scheme}://{_login(sentinel_login)}",
            sentinel_behind=_query(tls_options),
        )
        _checked(found.url_of(found.nodes[0]))
        _checked(found.sentinel_url(found.nodes[0]))
        return found

    def url_of(self, node: Node) -> str:
        """The URL of one server, as redis-py reads it."""
        return self.plain or f"{self.before}{node}{self.behind}"

    def sentinel_url(self, node: Node) -> str:
        return f"{self.sentinel_before}{node}{self.sentinel_behind}"


def _checked(url: str) -> None:
    """The error's own words may quote a password."""
    try:
        parse_url(url)
    except ValueError:
        raise ValueError("cannot be read (a password in it has to be percent-encoded)") from None


def _login_and_hosts(parts: SplitResult) -> tuple[str, str]:
    login, at, hosts = parts.netloc.rpartition("@")
    return login + at, hosts


def _login(of: dict[str, str]) -> str:
    if "password" not in of:
        return ""
    return f"{quote(of.get('username', ''), safe='')}:{quote(of['password'], safe='')}@"


def _query(options: dict[str, str]) -> str:
    return f"?{urlencode(options)}" if options else ""


def _nodes(hosts: str, port: int) -> Iterator[Node]:
    for one in hosts.split(","):
        try:
            parts = urlsplit(f"//{one}")
            found = Node(parts.hostname or "", parts.port or port)
        except ValueError:
            raise ValueError("names a host or a port that is none") from None
        if not found.host:
            raise ValueError("names an empty host")
        yield found
