"""DATA_DIR/run.json: what runs, for tools and tests. It is there while everything is up, and always whole.

A file that is found at the start is of a run that was killed. On Linux nothing of it lives any more; elsewhere what
lives is ended, before two Valkeys write to the same file.
"""

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from sluiceway_local.data_dir import write_private

END_SECONDS = 5.0


@dataclass(frozen=True)
class Addresses:
    gateway_url: str
    redis_url: str
    database_url: str


class RunFile:
    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "run.json"

    def write(self, addresses: Addresses, pids: dict[str, int]) -> None:
        processes = [{"name": name, "pid": pid, "started": _started(pid)} for name, pid in pids.items()]
        content = {**vars(addresses), "processes": processes}
        write_private(self._path, json.dumps(content, indent=2) + "\n")

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)

    def end_leftovers(self) -> None:
        """End what a killed run left behind. A process id that went to somebody else is told by its start time."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            processes = json.loads(self._path.read_text(encoding="utf-8"))["processes"]
            left = [found for process in processes if (found := _find(process["pid"], process["started"]))]
            for process in left:
                process.terminate()
            _, stubborn = psutil.wait_procs(left, timeout=END_SECONDS)
            for process in stubborn:
                process.kill()
        self.remove()


def _started(pid: int) -> float | None:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).create_time()
    return None


def _find(pid: int, started: float | None) -> psutil.Process | None:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return process if process.create_time() == started else None
    return None
