"""The two commands on a machine that is not as it should be, and pins that do not fit."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = ROOT / ".uv/bin/uv"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What pins are made from, and what makes the venv, without anything installed."""
    pyprojects = [path for pattern in ("", "*/", "*/*/") for path in ROOT.glob(f"{pattern}pyproject.toml")]
    pins = [path for path in (ROOT / "requirements").iterdir() if path.is_file()]
    for path in [ROOT / "Makefile", *pyprojects, *pins]:
        _copy(path, tmp_path)
    return tmp_path


@pytest.mark.requirement("OP-1")
def test_make_alone_tells_what_it_can_do(clone: Path) -> None:
    told = subprocess.run(["make"], cwd=clone, capture_output=True, text=True, check=True).stdout
    for target in ("run", "test", "check", "bench", "chaos", "lock", "clean"):
        assert f"make {target} " in told


@pytest.mark.requirement("OP-1")
def test_a_python_that_is_too_old_is_said_in_a_sentence(clone: Path, tmp_path: Path) -> None:
    old = _program(tmp_path / "python", 'test "$1" = --version && echo "Python 3.9.18"')
    ended = _make_run(clone, PYTHON=str(old))
    assert ended.returncode != 0
    assert f"sluiceway: Python 3.11 or newer is needed; {old} is Python 3.9.18." in ended.stderr
    assert not (clone / ".venv").exists()


@pytest.mark.requirement("OP-1")
def test_a_python_without_venv_and_pip_is_said_with_the_way_out(clone: Path, tmp_path: Path) -> None:
    bare = _program(tmp_path / "python", 'test "$1" != -m')
    ended = _make_run(clone, PYTHON=str(bare), PATH="/usr/bin:/bin")
    assert ended.returncode != 0
    assert "has neither venv with ensurepip nor pip" in ended.stderr
    assert "apt-get install python3-venv" in ended.stderr


def test_pins_that_do_not_fit_a_pyproject_fail_the_check_by_name(clone: Path) -> None:
    pyproject = clone / "services/gateway/pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace('"starlette>=', '"pyyaml>=6",\n    "starlette>='))
    command = ["python3", "requirements/pins.py", "check"]
    environment = {**os.environ, "UV": str(UV) if UV.exists() else "uv"}
    ended = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)
    complaints = ended.stderr.splitlines()
    assert ended.returncode == 1
    assert "requirements/gateway.txt does not fit the pyprojects: `make lock` renews it" in complaints
    assert not [complaint for complaint in complaints if "chat-worker" in complaint]


def _make_run(clone: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    settings = {**os.environ, **environment}
    return subprocess.run(["make", "run"], cwd=clone, env=settings, capture_output=True, text=True, check=False)


def _program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def _copy(source: Path, to: Path) -> None:
    target = to / source.relative_to(ROOT)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
