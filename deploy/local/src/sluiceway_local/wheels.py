"""Where wheels keep the files that they bring: servers, a model.

The packages are not imported. One of them makes folders in the home directory when it is, another wants to compile
things, and none of their Python is needed.
"""

import importlib.util
from pathlib import Path

from sluiceway_local.errors import CannotRun


def file_in(package: str, pattern: str) -> Path:
    """The file of that installed package. Raises CannotRun where its wheel is missing or brings none."""
    spec = importlib.util.find_spec(package)
    found = sorted(Path(spec.origin).parent.glob(pattern)) if spec and spec.origin else []
    if not found:
        raise CannotRun(
            f"The package {package.replace('_', '-')} has no {Path(pattern).name} for this machine. `make clean run` "
            "installs everything anew; there are wheels for Linux (glibc 2.28 or newer) and macOS, x86-64 and arm64."
        )
    return found[0]
