"""Keeping the secrets of a process from its own children, and from other processes of its user.

Guarantees, on Linux: after `keep_secrets` no other process of this user may read this one's memory or environment, nor
attach to it, nor is there a core dump. What `/proc/PID/environ` shows has no secret of the settings, for anybody: a
child of root may look there all the same. A child that is started without an environment of its own does not get them.
`os.environ` keeps them, for the Python code of this process.
Not guaranteed: anything against root who reads memory, or on other systems.
"""

import ctypes
import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr

_PR_SET_DUMPABLE = 4
# In /proc/PID/stat, counted from the field behind the program's name, which may hold anything.
_ENV_START, _ENV_END = 47, 48


# They hold a password, as often as not.
_ADDRESSES = frozenset({"REDIS_URL", "DATABASE_URL", "DATABASE_DIRECT_URL", "HTTP_OPERATIONS"})


def secret_names(settings_type: type[BaseModel]) -> frozenset[str]:
    """The environment variables that settings of this kind have secrets in."""
    fields = settings_type.model_fields
    names = {name.upper() for name, field in fields.items() if _is_secret(field.annotation)}
    return frozenset(names | (_ADDRESSES & {name.upper() for name in fields}))


def _is_secret(kind: Any) -> bool:
    """Whether a type is, or has in it, a SecretStr."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return any(_is_secret(field.annotation) for field in kind.model_fields.values())
    return kind is SecretStr or any(_is_secret(inner) for inner in get_args(kind))


def keep_secrets(names: Collection[str], *, debuggable: bool = False) -> None:
    """`names`: of environment variables, in capitals. `debuggable`: others of this user may look into the process."""
    if sys.platform != "linux":
        return
    _wipe(names)
    if not debuggable:
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _wipe(names: Collection[str]) -> None:
    """Overwrite variables, names and all, where the kernel put them when the program was started. Not with NULs:
    readers would take two of them for the end."""
    start, end = _environment_block()
    block = ctypes.string_at(start, end - start) if start else b""
    place = start
    for entry in block.split(b"\0"):
        name, equals, value = entry.partition(b"=")
        if equals and value and os.fsdecode(name).upper() in names:
            ctypes.memset(place, ord("_"), len(entry))
        place += len(entry) + 1


def _environment_block() -> tuple[int, int]:
    """Where it is; (0, 0) where the kernel does not say."""
    try:
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        return int(fields[_ENV_START]), int(fields[_ENV_END])
    except (OSError, LookupError, ValueError):
        return 0, 0
