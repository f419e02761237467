"""Free TCP ports for the processes that tests start.

They are taken below the range from which the kernel picks ports for outgoing connections, so that no connection of
another test can sit on a port between the moment it is chosen and the moment it is bound. Two test runs at once begin
at different places.
"""

import itertools
import os
import socket

_FIRST, _LAST = 10_000, 32_000
_next = itertools.count(int.from_bytes(os.urandom(4)))


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now; never the same twice in one process."""
    for _ in range(_LAST - _FIRST):
        port = _FIRST + next(_next) % (_LAST - _FIRST)
        with socket.socket() as candidate:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise RuntimeError("no free port")
