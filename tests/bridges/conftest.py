"""An environment with the real CrewAI, which cannot share ours: it holds pydantic and mcp back.

It is made once from the pins of `requirements/crewai.txt`, below the environment that runs the tests, and made again
when they or our packages' dependencies change. Measured: 43 s with an empty cache of uv, 4 s with a filled one; 840 MB.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.processes.uv import find_uv

_ROOT = Path(__file__).parents[2]
_PINS = _ROOT / "requirements" / "crewai.txt"
_BUILD_PINS = _ROOT / "requirements" / "build.txt"
_PACKAGES = (_ROOT / "shared", _ROOT / "bridges" / "crewai")
# What CrewAI can run on.
_PYTHON = sys.executable if sys.version_info < (3, 14) else ">=3.11,<3.14"


@pytest.fixture(scope="session")
def crew_python() -> Path:
    """The interpreter of the environment. Processes of pytest that run side by side make it once."""
    environment = Path(sys.prefix) / "crewai"
    python, stamp = environment / "bin" / "python", environment / "installed"
    with environment.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != _fingerprint():
            shutil.rmtree(environment, ignore_errors=True)
            _make(environment, python)
            stamp.write_text(_fingerprint())
    return python


def _fingerprint() -> str:
    files = (_PINS, *(package / "pyproject.toml" for package in _PACKAGES))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _make(environment: Path, python: Path) -> None:
    builder = environment / "builder"
    install = ("pip", "install", "--quiet", "--python", python)
    _run("venv", "--quiet", "--python", _PYTHON, environment)
    # --no-build: a wheel that is missing is an error at once, not a compiler run.
    _run(*install, "--no-build", "--require-hashes", "-r", _PINS)
    _run(*install, "--require-hashes", "--target", builder, "-r", _BUILD_PINS)
    editable = [word for package in _PACKAGES for word in ("--editable", package)]
    _run(*install, "--no-deps", "--no-build-isolation", *editable, PYTHONPATH=str(builder))


def _run(*words: str | Path, **environment: str) -> None:
    command = [find_uv(), *(str(word) for word in words)]
    ended = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=600, check=False
    )
    assert ended.returncode == 0, f"{command}:\n{ended.stdout}{ended.stderr}"
