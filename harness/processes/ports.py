"""Free TCP ports for the processes that tests start.

They are taken below the range from which the kernel picks ports for outgoing connections, so that no connection of
another test can sit on a port between the moment it is chosen and the moment it is bound. A process of tests has whole
blocks of ports to itself, by a lock that ends with it: no other run gives out the port of a server that is about to
start, or to start again.
"""

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

_FIRST, _LAST, _BLOCK = 10_000, 32_000, 100
_locks: list[int] = []


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now; never the same twice in one process."""
    return next(_free)


def _free_ports() -> Iterator[int]:
    blocks = list(range(_FIRST, _LAST, _BLOCK))
    random.shuffle(blocks)
    for block in blocks:
        if _reserved(block):
            yield from filter(_is_free, range(block, block + _BLOCK))
    raise RuntimeError("no free port")


def _reserved(block: int) -> bool:
    """Whether it is ours from now on. The lock is not inherited by the processes that are started."""
    directory = Path(tempfile.gettempdir()) / f"sluiceway-ports-{os.getuid()}"
    directory.mkdir(exist_ok=True)
    lock = os.open(directory / str(block), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return False
    _locks.append(lock)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


_free = _free_ports()
