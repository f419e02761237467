"""Which pages on the web may drive this gateway: its own, and those of CORS_ORIGINS.

A browser sends requests to any address for any page. Two things tell them apart: `Host`, the name that the page
believes in, which is another than ours when DNS was rebound; and `Sec-Fetch-Site` or `Origin`, which no script can
change. A program sends neither of these two, and is not stopped here.
"""

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from gateway.api.problems import HostRefused, OriginRefused

# loopback: names of this machine. private: also addresses and names without a dot, none of which anybody else's DNS
# can give out. any: a gateway behind a name of its own, whose callers show who they are.
HostPolicy = Literal["loopback", "private", "any"]
_CHANGES_NOTHING = frozenset({"GET", "HEAD", "OPTIONS"})
# A name or an address, and a port. What has more in it two readers may read differently.
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/?#@\[\]\\]+))(?::[0-9]{0,5})?")


class Origins:
    def __init__(self, policy: HostPolicy, hosts: Sequence[str], cors_origins: Sequence[str]) -> None:
        self._policy = policy
        self._hosts = tuple(host.lower() for host in hosts)
        self._elsewhere = frozenset(cors_origins)

    def check(self, method: str, headers: Headers) -> None:
        """Raises HostRefused, OriginRefused."""
        host = headers.get("host")
        if host and not self._is_ours(host_name(host)):  # browsers always send it; a program may leave it out
            raise HostRefused
        if method not in _CHANGES_NOTHING and not self._may_change(headers, host):
            raise OriginRefused

    def _is_ours(self, name: str | None) -> bool:
        if name is None:
            return False
        if any(name == known or (known.startswith("*.") and name.endswith(known[1:])) for known in self._hosts):
            return True
        if is_loopback(name):
            return True
        if self._policy == "private":
            return _is_address(name) or "." not in name
        # A list of hosts is the whole list.
        return self._policy == "any" and not self._hosts

    def _may_change(self, headers: Headers, host: str | None) -> bool:
        origin = headers.get("origin")
        if origin is not None and (origin in self._elsewhere or "*" in self._elsewhere):
            return True
        site = headers.get("sec-fetch-site")
        if site is not None:
            return site in ("same-origin", "none")
        return origin is None or _authority(origin) == (host or "").lower()


def host_name(host: str) -> str | None:
    """Without the port, in small letters, without a last dot. None: it is the name of no host."""
    found = _HOST.fullmatch(host)
    return (found[1] or found[2]).lower().removesuffix(".") if found is not None else None


@lru_cache(maxsize=256)
def is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _authority(origin: str) -> str | None:
    """Of an origin that has one; `null` has none."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None
