"""The uv that installs packages in tests."""

import shutil
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def find_uv() -> str:
    """The one that `make` installs, or the developer's."""
    own = _ROOT / ".uv" / "bin" / "uv"
    found = str(own) if own.exists() else shutil.which("uv")
    assert found, "no uv: `make test` installs it"
    return found
