"""The images, started together as Kubernetes starts them: a number for a user, a root that is read-only, no capability.

They are what `make images` has built last. Building takes minutes and a base image from a registry, so this is asked
for by name: `IMAGES_ENGINE=podman .venv/bin/pytest tests/deploy/test_started_images.py`, with TAG where it is another
than dev, and CONTAINERS_CONF where podman needs one here (another runtime, smaller limits).
"""

import asyncio
import json
import os
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping

import httpx
import pytest

from harness.clients.chat import Chat
from harness.clients.folding import fold
from harness.model_server import ModelServer
from harness.processes.ports import free_port
from harness.waiting import wait_until
from tests.deploy import manifests

ENGINE = shlex.split(os.environ.get("IMAGES_ENGINE", ""))
TAG = os.environ.get("TAG") or "dev"
_SECRETS = json.dumps(["0123456789abcdef0123456789abcdef"])
_STOP_SECONDS = 10.0
# As the pods of the base: `test_manifests` holds those to it.
_CLOSED = ["--read-only", "--user", "10001:10001", "--cap-drop", "all", "--security-opt", "no-new-privileges"]

pytestmark = [
    pytest.mark.requirement("OP-3", "OP-4"),
    pytest.mark.skipif(not ENGINE, reason="THE IMAGES ARE NOT STARTED HERE: say IMAGES_ENGINE=podman or docker"),
]


class Containers:
    """All are on the host's network. What was started is gone at the end."""

    def __init__(self, common: Mapping[str, str]) -> None:
        self._common = common
        self._named: list[str] = []

    def run(self, service: str, environment: Mapping[str, str], *command: str, detached: bool = True) -> str:
        name = f"sluiceway-try-{service}-{free_port()}"
        told = [word for pair in {**self._common, **environment}.items() for word in ("--env", "=".join(pair))]
        how = ["--detach"] if detached else ["--rm"]
        mounts = ["--network", "host", "--tmpfs", "/tmp"]
        if detached:
            self._named.append(name)
        self.engine("run", *how, "--name", name, *mounts, *_CLOSED, *told, f"sluiceway-{service}:{TAG}", *command)
        return name

    def engine(self, *words: str) -> str:
        done = subprocess.run([*ENGINE, *words], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{words[0]}: {done.stderr}"
        return done.stdout

    def stop(self, name: str) -> float:
        """SIGTERM; how long it took to end, which it did by itself and well."""
        began = time.monotonic()
        self.engine("stop", "--time", "60", name)
        took = time.monotonic() - began
        assert self.engine("inspect", "--format", "{{.State.ExitCode}}", name).strip() == "0", self.logs(name)
        return took

    def logs(self, name: str) -> str:
        return self.engine("logs", name)

    def remove(self) -> None:
        for name in self._named:
            subprocess.run([*ENGINE, "rm", "--force", name], capture_output=True, timeout=120, check=False)


@pytest.fixture
def containers(valkey_url: str, empty_database_url: str) -> Iterator[Containers]:
    common = {"REDIS_URL": valkey_url, "DATABASE_URL": empty_database_url, "LOG_FORMAT": "json", "FILES_URL": ""}
    started = Containers(common | {"MIGRATE_ON_START": "false"})
    yield started
    started.remove()


async def test_all_four_start_closed_answer_and_end_at_a_signal(containers: Containers, model: ModelServer) -> None:
    # As the Job of the base does it.
    (job,) = (one for one in manifests.resources() if one["kind"] == "Job")
    migrate = manifests.container(job["spec"]["template"]["spec"])["command"]
    await asyncio.to_thread(containers.run, "gateway", {}, *migrate, detached=False)
    asks = {"OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": "k", "MODEL": "m"}
    port, *probes = (str(free_port()) for _ in manifests.SERVICES)
    url = f"http://127.0.0.1:{port}"
    outside = {"PUBLIC_URL": url, "WEBHOOK_SECRETS": _SECRETS}
    names = [containers.run("gateway", {"HOST": "127.0.0.1", "PORT": port, "WEBHOOK_SECRETS": _SECRETS})]
    for service, probe in zip(manifests.WORKERS, probes, strict=True):
        own = asks | outside if service != "completion-consumer" else {}
        names.append(containers.run(service, {"HEALTH_PORT": probe, **own}))
    for at in (port, *probes):
        await _ready(f"http://127.0.0.1:{at}/readyz")
    for name in names:
        seen = containers.engine("exec", name, "sh", "-c", "id -u; touch /opt/x 2>&1; grep CapEff /proc/self/status")
        assert seen.splitlines()[0] == "10001"
        assert "Read-only file system" in seen
        assert int(seen.split()[-1], 16) == 0
    async with Chat(url) as chat, httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(url)).text.startswith("<!doctype html>")
        assert fold(await chat.answer(await chat.ask("count [[tokens=3 rate=0]]"))).text == "count count count "
    for name in names:
        assert await asyncio.to_thread(containers.stop, name) < _STOP_SECONDS


async def _ready(url: str) -> None:
    async def answers() -> bool:
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                return (await client.get(url)).status_code == 200
            except httpx.TransportError:
                return False

    await wait_until(answers, 60, f"{url} answers 200")
