"""The services as programs: their console scripts, with the environment that ties them together."""

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from sluiceway_local import probes
from sluiceway_local.errors import CannotRun
from sluiceway_local.process import Program


def gateway(host: str, port: int, common: Mapping[str, str]) -> Program:
    return Program(
        name="gateway",
        command=(_script("sluiceway-gateway"),),
        ready=partial(probes.http_ok, port, "/readyz", reachable(host)),
        environment={**common, "HOST": host, "PORT": str(port)},
    )


def chat_worker(number: int, health_port: int, common: Mapping[str, str]) -> Program:
    return _worker(f"chat-worker-{number}", "sluiceway-chat-worker", health_port, common)


def tool_runner(health_port: int, common: Mapping[str, str]) -> Program:
    return _worker("tool-runner", "sluiceway-tool-runner", health_port, common)


def completion_consumer(health_port: int, common: Mapping[str, str]) -> Program:
    return _worker("completion-consumer", "sluiceway-completion-consumer", health_port, common)


def _worker(name: str, script: str, health_port: int, common: Mapping[str, str]) -> Program:
    """The name stays the same after a restart: a worker takes up its own pending entries at once."""
    own = {"WORKER_NAME": name, "HEALTH_HOST": "127.0.0.1", "HEALTH_PORT": str(health_port)}
    return Program(
        name=name,
        command=(_script(script),),
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
