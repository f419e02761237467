"""The services as programs: their console scripts, with the environment that ties them together."""

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from sluiceway_local import probes
from sluiceway_local.errors import CannotRun
from sluiceway_local.process import Program

REPLICATED = "chat-worker"  # as often as REPLICAS says
SINGLE = ("tool-runner", "completion-consumer")


def gateway(host: str, port: int, common: Mapping[str, str]) -> Program:
    return Program(
        name="gateway",
        command=(_script("sluiceway-gateway"),),
        ready=partial(probes.http_ok, port, "/readyz", reachable(host)),
        environment={**common, "HOST": host, "PORT": str(port)},
    )


def workers(replicas: int) -> dict[str, str]:
    """The names of all worker processes, each with the service that it is one of."""
    replicated = {f"{REPLICATED}-{number}": REPLICATED for number in range(1, replicas + 1)}
    return replicated | {service: service for service in SINGLE}


def worker(name: str, service: str, health_port: int, common: Mapping[str, str]) -> Program:
    """The name stays the same after a restart: a worker takes up its own pending entries at once."""
    own = {"WORKER_NAME": name, "HEALTH_HOST": "127.0.0.1", "HEALTH_PORT": str(health_port)}
    return Program(
        name=name,
        command=(_script(f"sluiceway-{service}"),),
        ready=partial(probes.http_ok, health_port, "/readyz"),
        environment={**common, **own},
    )


def _script(name: str) -> str:
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        raise CannotRun(f"{name} is not installed beside {sys.executable}: `make run` installs it.")
    return str(path)


def reachable(host: str) -> str:
    """An address to reach a server that listens on `host`, which may mean every address."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)


def url(host: str, port: int) -> str:
    name = reachable(host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
