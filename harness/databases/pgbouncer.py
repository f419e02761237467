"""A real PgBouncer before a Postgres, where one is installed (Debian: apt-get install pgbouncer)."""

import os
import shutil
import signal
import socket
from pathlib import Path

from sluiceway_local import launcher

from harness.processes.child import Child
from harness.processes.ports import free_port
from harness.waiting import block_until

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


class PgBouncer:
    """Nothing in its configuration is for us: it is as a distribution has it, but for the mode."""

    def __init__(self, directory: Path, postgres_port: int, mode: str) -> None:
        assert PROGRAM is not None
        self.port = free_port()
        configuration = directory / f"{mode}.ini"
        configuration.write_text(
            f"[databases]\n* = host=127.0.0.1 port={postgres_port} user=postgres\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = any\npool_mode = {mode}\ndefault_pool_size = 20\n"
        )
        configuration.chmod(0o644)
        # It refuses to run as root.
        user = "nobody" if os.geteuid() == 0 else None
        command = [*launcher.command(signal.SIGINT, user), PROGRAM, str(configuration)]
        self._child = Child(f"pgbouncer-{mode}", command, directory / f"{mode}.log")

    def start(self) -> None:
        self._child.start()
        block_until(self._answers, what="PgBouncer listens")

    def stop(self) -> None:
        self._child.end(signal.SIGINT)

    def _answers(self) -> bool:
        assert self._child.alive, f"PgBouncer did not start:\n{self._child.output}"
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True
