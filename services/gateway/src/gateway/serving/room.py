"""How many connections a process has open at once.

Guarantees: never more than `most` together, and of one address of the public network `most_of_address`. A full house
lets in who comes next: the connection that has asked for nothing for longest is cut for it, so those who only connect,
or are slow with a request's head, keep nobody out. Where every connection is being served, the next one is refused.
Behind a proxy, all have its address: there the proxy counts.
"""

import ipaddress
from collections import Counter
from typing import Protocol


class Guest(Protocol):
    """A connection. `cut`: close it at once, whatever waits in it."""

    def cut(self) -> None: ...


class Room:
    """0: no limit."""

    def __init__(self, most: int, most_of_address: int) -> None:
        self._most = most
        self._most_of_address = most_of_address
        self._addresses: Counter[str] = Counter()
        self._in: dict[Guest, str | None] = {}
        # Those that ask for nothing now, in the order in which they began to.
        self._idle: dict[Guest, None] = {}

    def enter(self, guest: Guest, peer: str | None) -> bool:
        """False: there is no room for it."""
        address = _public(peer)
        if address is not None and self._most_of_address and self._addresses[address] >= self._most_of_address:
            return False
        if self._most and len(self._in) >= self._most:
            longest = next(iter(self._idle), None)
            if longest is None:
                return False
            self.leave(longest)
            longest.cut()
        self._in[guest] = address
        self._idle[guest] = None
        if address is not None:
            self._addresses[address] += 1
        return True

    def asks(self, guest: Guest) -> None:
        """A whole head of a request has come."""
        self._idle.pop(guest, None)

    def rests(self, guest: Guest) -> None:
        """Its request was answered."""
        if guest in self._in:
            self._idle[guest] = None

    def leave(self, guest: Guest) -> None:
        self._idle.pop(guest, None)
        address = self._in.pop(guest, None)
        if address is not None:
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]


def _public(peer: str | None) -> str | None:
    """Of IPv6 the first 64 bits, which is what one subscriber has."""
    try:
        address = ipaddress.ip_address(peer or "")
    except ValueError:
        return None
    if not address.is_global:
        return None
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else str(address)
