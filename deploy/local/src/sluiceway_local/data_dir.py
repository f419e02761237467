"""The folder that keeps everything between runs: one run at a time, writable, with room.

The lock is the kernel's (flock), so a run that was killed leaves none behind; the file only tells who holds it.
"""

import errno
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sluiceway_local.errors import CannotRun

MEGABYTE = 1_000_000


@contextmanager
def opened(path: Path, min_free_mb: int) -> Iterator[Path]:
    """Makes and locks the folder, and gives its absolute path. Raises CannotRun."""
    path = path.absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (path / "lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise CannotRun(f"DATA_DIR={path} cannot be written: {why(error)}.") from error
    with lock:
        _lock(lock, path)
        _require_room(path, min_free_mb)
        yield path


def _lock(lock: IO[str], path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        raise CannotRun(
            f"Another `make run` (process {lock.read().strip() or 'unknown'}) uses {path}{_where_it_serves(path)}. "
            "Stop it, or choose another place with DATA_DIR=…"
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()


def _where_it_serves(path: Path) -> str:
    try:
        return f" and serves {json.loads((path / 'run.json').read_text(encoding='utf-8'))['gateway_url']}"
    except (OSError, ValueError, KeyError):
        return ""


def _require_room(path: Path, min_free_mb: int) -> None:
    free = free_mb(path)
    if free < min_free_mb:
        raise CannotRun(
            f"The disk of {path} is full: {free} MB are free, {min_free_mb} MB are needed. "
            "Make room, or choose another place with DATA_DIR=…"
        )


def free_mb(path: Path) -> int:
    return shutil.disk_usage(path).free // MEGABYTE


def write_private(path: Path, text: str) -> None:
    """Replaces the file as a whole, readable by its owner only."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def secret(path: Path) -> str:
    """The secret in that file, 48 characters, which is made when it is missing."""
    if not path.exists():
        write_private(path, secrets.token_hex(24))
    return path.read_text(encoding="utf-8")


def why(error: OSError) -> str:
    """The reason of an OSError in words, without numbers and traceback."""
    if error.errno == errno.ENOSPC:
        return "the disk is full"
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return "a file stands where a folder is needed"
    return (error.strerror or str(error)).lower()
