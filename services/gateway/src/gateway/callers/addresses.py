"""The address of who calls, for limits: of the public network, or what a proxy that we trust says.

An address that could be anybody's (a proxy that is not named, a machine of ours) is none: all would share one limit. Of
IPv6 the first 64 bits count, which is what one subscriber has.
"""

import ipaddress
import re
from collections.abc import Sequence

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_MOST_HOPS = 16
_WITH_PORT = re.compile(r"(?:\[([^\]]*)\]|([0-9.]+))(?::[0-9]{1,5})?")


class Addresses:
    def __init__(self, trusted_proxies: Sequence[str]) -> None:
        self._trusted = [ipaddress.ip_network(network) for network in trusted_proxies]

    def of(self, peer: str | None, forwarded: str | None) -> str | None:
        """`peer`: who has the connection. `forwarded`: the X-Forwarded-For header, all its lines in their order, read
        from its end, where each proxy adds who asked it: the first that is no proxy of ours is the caller; what stands
        before is his own word."""
        address = _parse(peer)
        hops = (forwarded or "").split(",")[-_MOST_HOPS:]
        while address is not None and self._is_proxy(address) and hops:
            address = _parse(hops.pop())
        if address is None or self._is_proxy(address) or not (self._trusted or address.is_global):
            return None
        return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else str(address)

    def _is_proxy(self, address: _Address) -> bool:
        return any(address in network for network in self._trusted if network.version == address.version)


def _parse(text: str | None) -> _Address | None:
    """Some proxies write the port, too: `203.0.113.7:4711`, `[2001:db8::1]:4711`."""
    told = (text or "").strip()
    with_port = _WITH_PORT.fullmatch(told)
    try:
        address = ipaddress.ip_address((with_port[1] or with_port[2]) if with_port is not None else told)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
