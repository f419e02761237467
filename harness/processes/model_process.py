"""A fake model server as a process (`python -m harness.model_server` or one like it), for a run of tests."""

import json
import os
import sys
from pathlib import Path

from harness.processes.child import Child
from harness.waiting import block_until

_ROOT = Path(__file__).parents[2]


class ModelProcess:
    """Started once, on a port that it picks itself and prints; scripted over HTTP by each test."""

    def __init__(self, directory: Path, module: str = "harness.model_server") -> None:
        command = [sys.executable, "-m", module, "--port", "0"]
        self._child = Child("model", command, directory / "model.log")
        self.url = ""

    def start(self) -> None:
        self._child.start(environment={**os.environ, "PYTHONUNBUFFERED": "1"}, directory=_ROOT)
        port = block_until(self._port, timeout=30, what="the fake model server prints its port")
        self.url = f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        self._child.end()

    def _port(self) -> int:
        assert self._child.alive, f"the fake model server did not start:\n{self._child.output}"
        first_line = self._child.output.partition("\n")[0]
        try:
            return int(json.loads(first_line)["port"])
        except ValueError:
            return 0
