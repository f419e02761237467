"""TCP ports on this machine.

A free port is free when it was asked for; nothing reserves it. It lies below the range from which the kernel takes
ports for outgoing connections, so that none of those sits on it while a process that was killed is started again.
"""

import errno
import random
import socket
from contextlib import suppress

from sluiceway_local.errors import CannotRun

LOOPBACK = "127.0.0.1"
CANDIDATES = range(10_000, 32_000)


def free_ports(count: int) -> list[int]:
    """That many different ports nobody listens on, on loopback."""
    found: list[int] = []
    for port in random.sample(CANDIDATES, len(CANDIDATES)):
        if len(found) == count:
            return found
        with suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOOPBACK, port))
            found.append(port)
    raise CannotRun("No TCP port is free on this machine.")


def require_bindable(host: str, port: int) -> None:
    """Raises CannotRun when the gateway could not listen there."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror as error:
        raise CannotRun(f"HOST={host} is not an address of this machine ({error.strerror}).") from error
    except OSError as error:
        raise CannotRun(_why_not(host, port, error)) from error


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} of {host} is in use by another program. `make run PORT={port + 1}` takes another one."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"HOST={host} is not an address of this machine."
    if error.errno == errno.EACCES:
        return f"Port {port} of {host} is reserved for root. `make run PORT=8000` takes another one."
    return f"Cannot listen on port {port} of {host}: {error.strerror}."
