"""Keeping the secrets of a process from its own children, and from other processes of its user.

Guarantees, on Linux: after `keep_secrets` no other process of this user may read this one's memory or environment, nor
attach to it, nor is there a core dump. What `/proc/PID/environ` shows has none of the settings' values, for anybody: a
child of root may look there all the same. A child that is started without an environment of its own gets them empty.
`os.environ` keeps them, for the Python code of this process.
Not guaranteed: anything against root who reads memory, or on other systems.
"""

import ctypes
import os
import sys
from collections.abc import Collection
from pathlib import Path

_PR_SET_DUMPABLE = 4
# In /proc/PID/stat, counted from the field behind the program's name, which may hold anything.
_ENV_START, _ENV_END = 47, 48


def keep_secrets(names: Collection[str], *, debuggable: bool = False) -> None:
    """`names`: of environment variables, in capitals. `debuggable`: others of this user may look into the process."""
    if sys.platform != "linux":
        return
    _wipe(names)
    if not debuggable:
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _wipe(names: Collection[str]) -> None:
    """Overwrite values where the kernel put them when the program was started."""
    start, end = _environment_block()
    block = ctypes.string_at(start, end - start) if start else b""
    place = start
    for entry in block.split(b"\0"):
        name, equals, value = entry.partition(b"=")
        if equals and value and os.fsdecode(name).upper() in names:
            ctypes.memset(place + len(name) + 1, 0, len(value))
        place += len(entry) + 1


def _environment_block() -> tuple[int, int]:
    """Where it is; (0, 0) where the kernel does not say."""
    try:
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        return int(fields[_ENV_START]), int(fields[_ENV_END])
    except (OSError, LookupError, ValueError):
        return 0, 0
