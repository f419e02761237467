"""Which addresses of the network a model may have fetched: public ones, and what the settings allow.

Guarantees: an address is allowed only when everything that it can lead to is public: addresses inside others (mapped,
NAT64, 6to4) are looked at too. A name is resolved once, all of its addresses are looked at, and those are what is
connected to, so a name server cannot change its mind in between.
Source: the special-purpose address registries of the IANA (RFC 6890), as of 2026.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]

_REFUSED_4 = [
    ip_network(each)
    for each in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's own services, at a public address
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
]
_PUBLIC_6 = ip_network("2000::/3")
_REFUSED_6 = [ip_network(each) for each in ("2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20")]
_NAT64 = ip_network("64:ff9b::/96")
_SIX_TO_FOUR = ip_network("2002::/16")
_MAPPED = ip_network("::ffff:0:0/96")


class AddressRefused(Exception):
    """The sentence says what was refused."""


class NameUnknown(Exception):
    """A name that does not resolve."""


def is_public(address: Address) -> bool:
    """Whether a connection to it can end nowhere but in the public network."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_4)
    inner = _inner(address)
    if inner is not None:
        return is_public(inner)
    return address in _PUBLIC_6 and not any(address in network for network in _REFUSED_6)


def _inner(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets to this one go to."""
    if address in _MAPPED or address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _SIX_TO_FOUR:
        return IPv4Address((int(address) >> 80) & 0xFFFFFFFF)
    return None


async def resolve(host: str, port: int) -> list[str]:
    """All addresses of a name, as the system has it. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Guard:
    """`allowed`: networks such as 10.1.0.0/16, and names of hosts, that are let through although they are not public.

    Raises ValueError where one is neither.
    """

    def __init__(self, allowed: Sequence[str] = (), resolve: Resolve = resolve) -> None:
        self._networks: list[IPv4Network | IPv6Network] = []
        self._hosts: set[str] = set()
        self._resolve = resolve
        for each in allowed:
            if "/" in each or ":" in each or each.replace(".", "").isdigit():
                self._networks.append(ip_network(each))
            else:
                self._hosts.add(each.lower())

    async def addresses(self, host: str, port: int) -> list[str]:
        """Where to connect for this host. Raises AddressRefused, NameUnknown."""
        try:
            found = [ip_address(text) for text in await self._resolve(host, port)]
        except (OSError, UnicodeError, ValueError):
            raise NameUnknown(f"The name {host} is not known.") from None
        if not found:
            raise NameUnknown(f"The name {host} has no address.")
        if not all(self._allows(host, address, port) for address in found):
            # Which address it was is not said: a model has no business with the map of this network.
            raise AddressRefused(f"{host}:{port} is not a public web address, and only those are fetched.")
        return [str(address) for address in found]

    def _allows(self, host: str, address: Address, port: int) -> bool:
        if host.lower() in self._hosts or any(address in network for network in self._networks):
            return True
        return is_public(address) and port in (80, 443)
