"""`sluiceway-local` as a process of a test: in a folder of its own, on a free port, ended with the test."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil

from harness.clients.sse import SseStream, follow
from harness.processes.child import Child
from harness.processes.ports import free_port
from harness.processes.services import clean_environment, probe
from harness.waiting import block_until, wait_until

START_SECONDS = 130.0
STOP_SECONDS = 5.0


class Stack:
    """One run at a time; `start` again is a second run on the same folder and port."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.data_dir = directory / "data"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        own = {"DATA_DIR": str(self.data_dir), "PORT": str(self.port)}
        self.environment = clean_environment(**{**own, **environment})
        self._child = Child("sluiceway-local", [script()], directory / "sluiceway-local.log")
        self._pids: set[int] = set()
        self._left_by_a_killed_run = ""

    def run_by(self, program: Path) -> None:
        """Not by the `sluiceway-local` beside the tests' Python, but by this one."""
        self._child.command = [str(program)]

    def launch(self) -> None:
        self._left_by_a_killed_run = self._run_file_text
        self._child.start(environment=self.environment, at_parents_death=signal.SIGTERM)

    async def start(self) -> "Stack":
        """Returns when run.json is there, which is when a message would be answered."""
        self.launch()
        await wait_until(self._is_up, START_SECONDS, "run.json is written")
        assert await probe(self.url, "/readyz") == 200
        self._pids |= set(self.pids.values())
        return self

    @property
    def run_file(self) -> dict[str, Any]:
        content = json.loads(self._run_file_text)
        assert isinstance(content, dict)
        return content

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name, as run.json has them now."""
        return {process["name"]: process["pid"] for process in self.run_file["processes"]}

    @property
    def output(self) -> str:
        return self._child.output

    def send(self, number: signal.Signals) -> None:
        self._child.send(number)

    def exited(self, timeout: float = STOP_SECONDS) -> int:
        """Its exit code, when it ends within that time. Raises subprocess.TimeoutExpired."""
        return self._child.wait(timeout)

    def kill9(self, name: str) -> int:
        """Kill one of its processes; the process id it had."""
        pid = self.pids[name]
        psutil.Process(pid).kill()
        return pid

    async def came_back(self, name: str, killed: int, timeout: float = 10.0) -> None:
        """run.json names a new process in the place of the killed one."""
        await wait_until(lambda: self.pids.get(name, killed) != killed, timeout, f"{name} is started again")
        self._pids |= set(self.pids.values())

    def left_processes(self) -> list[int]:
        """Processes of any of its runs that still live."""
        return [pid for pid in self._pids if _lives(pid)]

    async def ask(self, text: str, session_id: str | None = None) -> "Turn":
        """Post a message, into a new session unless one is named."""
        async with httpx.AsyncClient(base_url=f"{self.url}/api/chat", trust_env=False, timeout=10) as client:
            if session_id is None:
                session_id = (await client.post("/sessions", json={})).raise_for_status().json()["id"]
            body = {"id": f"m-{free_port()}", "message": text}
            accepted = await client.post(f"/sessions/{session_id}/messages", json=body)
            return Turn(session_id, self.url + accepted.raise_for_status().json()["stream_url"])

    async def messages(self, session_id: str) -> list[dict[str, Any]]:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            answer = await client.get(f"{self.url}/api/chat/sessions/{session_id}")
            messages = answer.raise_for_status().json()["messages"]
            assert isinstance(messages, list)
            return messages

    def end(self) -> None:
        """With the test: politely, then by force."""
        if self._child.alive:
            self.send(signal.SIGTERM)
            try:
                self.exited(STOP_SECONDS * 2)
            except subprocess.TimeoutExpired:
                self.send(signal.SIGKILL)
                self.exited()
        block_until(lambda: not self.left_processes(), STOP_SECONDS, "its processes are gone")

    def _is_up(self) -> bool:
        assert self._child.alive, f"sluiceway-local ended with {self._child.exit_code}:\n{self.output}"
        return self._run_file_text not in ("", self._left_by_a_killed_run)

    @property
    def _run_file_text(self) -> str:
        path = self.data_dir / "run.json"
        return path.read_text() if path.exists() else ""


class Turn:
    """One message that was accepted."""

    def __init__(self, session_id: str, stream_url: str) -> None:
        self.session_id = session_id
        self.stream_url = stream_url

    async def answer(self) -> SseStream:
        """Its stream, read to the end."""
        async with follow(self.stream_url) as stream:
            assert stream.status == 200, stream.response.text
            await stream.read_to_end()
        return stream


def _lives(pid: int) -> bool:
    """An orphan that ended stays as a zombie where no init takes it in, as in many containers."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def script() -> str:
    return str(Path(sys.executable).with_name("sluiceway-local"))


def run_to_its_end(**environment: str) -> "subprocess.CompletedProcess[str]":
    """`sluiceway-local` where it cannot run: what it says, and its exit code."""
    settings = clean_environment(**environment)
    return subprocess.run([script()], env=settings, capture_output=True, text=True, timeout=START_SECONDS, check=False)
