"""Real service processes for tests: the console scripts of the environment, on free ports, with their logs kept.

A process that ends without being asked to, or that logs a traceback, fails the test that started it, also when every
assertion held. What the processes logged is part of the report of a failed test.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.processes.child import Child
from harness.processes.fork_server import ForkServer
from harness.processes.ports import free_port
from harness.waiting import wait_until

# Of a busy machine: a process that starts computes for seconds.
_START_SECONDS = 120.0
_STOP_SECONDS = 25.0
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR")
_MEASURING = ("COVERAGE_PROCESS_START", "COVERAGE_FILE", "COVERAGE_CORE")
_SUSPICIOUS = re.compile(
    r"Traceback \(most recent call last\)|ResourceWarning|never awaited|never retrieved|Unclosed (client|connect)"
)


class Service:
    """One process of one service. `url` is the gateway's address, or where a worker answers health probes."""

    def __init__(
        self,
        name: str,
        program: str,
        url: str,
        environment: dict[str, str],
        directory: Path,
        fork_server: ForkServer | None = None,
    ) -> None:
        self.name = name
        self.url = url
        self.environment = environment
        self._directory = directory
        self._program = program
        self._fork_server = fork_server
        script = Path(sys.executable).with_name(program)
        self._child = Child(name, [str(script)], directory / f"{name}.log")
        self._ended_by_test = False
        self.was_ready = False

    async def start(self, ready_path: str = "/readyz") -> "Service":
        """Start the process and wait until it answers 200 there."""
        self._ended_by_test = self.was_ready = False
        self._start()
        await wait_until(lambda: self.answers(ready_path), _START_SECONDS, f"{self.name} answers {ready_path}")
        self.was_ready = True
        return self

    def _start(self) -> None:
        fork_server, environment = self._fork_server, self.environment
        if fork_server is not None and fork_server.takes(self._program, environment):
            log = self._child.log
            self._child.adopt(lambda: fork_server.start(self._program, log, environment, self._directory))
        else:
            self._child.start(environment=environment, directory=self._directory)

    async def answers(self, path: str) -> bool:
        """Does a GET of `path` answer 200? Raises AssertionError when the process is gone."""
        if not self._child.alive:
            raise AssertionError(f"{self.name} ended with {self._child.exit_code}:\n{self._child.output}")
        return await probe(self.url, path) == 200

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child.alive

    @property
    def exit_code(self) -> int | None:
        return self._child.exit_code

    def kill9(self) -> None:
        """As the out-of-memory killer does it. Returns when the process is gone."""
        self._ended_by_test = True
        self._child.end(signal.SIGKILL)

    def abort(self) -> None:
        """As kill9, but it leaves the stacks of its threads in its log."""
        self._ended_by_test = True
        self._child.end(signal.SIGABRT)

    def send(self, number: signal.Signals) -> None:
        """A signal that may end it; do not wait."""
        self._ended_by_test = True
        self._child.send(number)

    def freeze(self) -> None:
        self._child.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._child.send(signal.SIGCONT)

    async def terminate(self, timeout: float = _STOP_SECONDS) -> int:
        """SIGTERM and wait; its exit code. It is an error when it needs longer than `timeout` seconds."""
        self._ended_by_test = True
        return await asyncio.to_thread(self._child.end, signal.SIGTERM, timeout)

    async def restart(self, ready_path: str = "/readyz") -> "Service":
        """Start it again, at the same address, after ending it politely where it still runs."""
        if self.alive:
            await self.terminate()
        return await self.start(ready_path)

    async def exited(self, timeout: float = _STOP_SECONDS) -> int:
        """Wait for it to go by itself, which the test expects; its exit code."""
        self._ended_by_test = True
        return await asyncio.to_thread(self._child.wait, timeout)

    @property
    def output(self) -> str:
        return self._child.output

    @property
    def log_lines(self) -> list[dict[str, Any]]:
        """The structured lines of its log so far."""
        parsed = (_as_json(line) for line in self.output.splitlines())
        return [line for line in parsed if line is not None]

    def complaints(self, expected: re.Pattern[str] | None) -> list[str]:
        """What no healthy process does: ending by itself, tracebacks, warnings about what was left open."""
        found = []
        if self.exit_code is not None and not self._ended_by_test:
            found.append(f"{self.name} ended by itself with {self.exit_code}")
        suspicious = (line for line in self.output.splitlines() if _SUSPICIOUS.search(line))
        unexpected = (line for line in suspicious if not (expected and expected.search(line)))
        return found + [f"{self.name} logged: {line[:2000]}" for line in unexpected]


@dataclass(frozen=True)
class System:
    """Everything that a turn needs, running."""

    gateways: list[Service]
    workers: list[Service]
    consumers: list[Service]
    tool_runners: list[Service]

    @property
    def url(self) -> str:
        return self.gateways[0].url

    @property
    def gateway(self) -> Service:
        return self.gateways[0]

    @property
    def worker(self) -> Service:
        return self.workers[0]

    @property
    def consumer(self) -> Service:
        return self.consumers[0]


class Services:
    """Starts service processes for one test. Keyword arguments in capitals are environment variables of the process.

    With a `fork_server` it starts them, which is much cheaper (see there); without, each is a new interpreter.
    """

    def __init__(self, directory: Path, environment: dict[str, str], fork_server: ForkServer | None = None) -> None:
        self.environment = environment
        self.fork_server = fork_server
        self.all: list[Service] = []
        self._directory = directory
        self._expected: re.Pattern[str] | None = None

    def expect_in_logs(self, pattern: str) -> None:
        """Lines that match this regular expression are part of what the test provokes."""
        self._expected = re.compile(pattern)

    async def gateway(self, *, ready_path: str = "/healthz", **environment: str) -> Service:
        """A gateway that serves; with ready_path="/readyz" also one that sees a worker, Redis and Postgres."""
        port = environment.setdefault("PORT", str(free_port()))
        environment = {"HOST": "127.0.0.1", **environment}
        return await self._add("gateway", f"http://127.0.0.1:{port}", environment).start(ready_path)

    async def chat_worker(self, *, ready_path: str = "/readyz", **environment: str) -> Service:
        return await self._background("chat-worker", environment).start(ready_path)

    async def completion_consumer(self, *, ready_path: str = "/readyz", **environment: str) -> Service:
        return await self._background("completion-consumer", environment).start(ready_path)

    async def tool_runner(self, *, ready_path: str = "/readyz", **environment: str) -> Service:
        """One with the built-in tools, and those of the folder TOOLS_DIR where that is given."""
        return await self._background("tool-runner", environment).start(ready_path)

    async def whole(
        self, *, gateways: int = 1, workers: int = 1, consumers: int = 1, tool_runners: int = 0, **environment: str
    ) -> System:
        """Gateways, chat workers, completion consumers and tool runners, started side by side and all ready."""
        starting = [
            *(self.gateway(**environment) for _ in range(gateways)),
            *(self.chat_worker(**environment) for _ in range(workers)),
            *(self.completion_consumer(**environment) for _ in range(consumers)),
            *(self.tool_runner(**environment) for _ in range(tool_runners)),
        ]
        started = await _all_or_none(starting)
        system = System(
            gateways=started[:gateways],
            workers=started[gateways : gateways + workers],
            consumers=started[gateways + workers :][:consumers],
            tool_runners=started[gateways + workers + consumers :],
        )
        for gateway in system.gateways if workers else ():
            await wait_until(lambda: gateway.answers("/readyz"), _START_SECONDS, f"{gateway.name} is ready")  # noqa: B023
        return system

    def complaints(self) -> list[str]:
        """What was wrong with the processes so far."""
        return [complaint for service in self.all for complaint in service.complaints(self._expected)]

    def stop(self) -> list[str]:
        """End all processes, politely and at once; what was wrong with them."""
        complaints = self.complaints()
        for service in self.all:
            if service.alive:
                service.thaw()
                service.send(signal.SIGTERM)
        for service in self.all:
            complaints += self._wait_for_end(service)
        return list(dict.fromkeys(complaints + self.complaints()))

    def _wait_for_end(self, service: Service) -> list[str]:
        if service.exit_code is not None:
            return []
        try:
            code = service._child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            service.abort()
            return [f"{service.name} did not end within {_STOP_SECONDS} s of SIGTERM; where it stood is in its log"]
        clean = {0} if service.was_ready else {0, -signal.SIGTERM}  # told before it could listen to signals
        return [] if code in clean else [f"{service.name} ended with {code} after SIGTERM"]

    def _background(self, program: str, environment: dict[str, str]) -> Service:
        port = environment.setdefault("HEALTH_PORT", str(free_port()))
        environment = {"HEALTH_HOST": "127.0.0.1", **environment}
        return self._add(program, f"http://127.0.0.1:{port}", environment)

    def _add(self, program: str, url: str, environment: dict[str, str]) -> Service:
        name = f"{program}-{1 + sum(service.name.startswith(program) for service in self.all)}"
        own = {"WORKER_NAME": name, **self.environment, **environment}
        service = Service(name, f"sluiceway-{program}", url, own, self._directory, self.fork_server)
        self.all.append(service)
        return service


async def _all_or_none(starting: list[Coroutine[None, None, Service]]) -> list[Service]:
    """Start side by side; when one fails, wait for none of the others."""
    tasks = [asyncio.ensure_future(start) for start in starting]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


async def probe(url: str, path: str) -> int | None:
    """The status of a GET, without the price of a real client; None when nobody answers."""
    address = urlsplit(url)
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nhost: {address.netloc}\r\nconnection: close\r\n\r\n".encode())
                status = (await reader.readline()).split()
                await reader.read()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None
    return int(status[1]) if len(status) > 1 else None


def clean_environment(**settings: str) -> dict[str, str]:
    """An environment for services: nothing of the developer's shell but what a process needs, and loud warnings.

    Where the tests are measured at no cost (see `measured`) the services are, too.
    """
    measured = os.environ.get("COVERAGE_CORE") == "sysmon"
    kept = {name: os.environ[name] for name in (*_KEPT, *(_MEASURING if measured else ())) if name in os.environ}
    loud = {"PYTHONWARNINGS": "always::ResourceWarning", "PYTHONFAULTHANDLER": "1"}
    # A title is a question to the model that no test of something else expects.
    return {**kept, **loud, "LOG_FORMAT": "json", "TITLES": "false", **settings}


def _as_json(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
