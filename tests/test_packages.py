"""Each service installs alone, from its own pins, and imports: the development environment hides what is undeclared."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_REQUIREMENTS = _ROOT / "requirements"
_EVERYTHING = """
import importlib, pkgutil, sys
for name in ("sluiceway", "{package}"):
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        importlib.import_module(module.name)
assert not {{"gateway", "chat_worker", "completion_consumer"}} - {{"{package}"}} & sys.modules.keys()
"""


def _run(*command: str | Path, cwd: Path, **environment: str) -> None:
    ended = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, f"{command}:\n{ended.stdout}{ended.stderr}"


def _uv() -> str:
    """The one that `make` installs, or the developer's."""
    own = _ROOT / ".uv" / "bin" / "uv"
    found = str(own) if own.exists() else shutil.which("uv")
    assert found, "no uv: `make test` installs it"
    return found


@pytest.mark.requirement("OP-3")
@pytest.mark.parametrize("service", ["gateway", "chat-worker", "completion-consumer"])
def test_a_service_installs_from_its_own_pins_and_imports_without_the_others(service: str, tmp_path: Path) -> None:
    venv, builder = tmp_path / "venv", tmp_path / "builder"
    python = venv / "bin" / "python"
    install = (_uv(), "pip", "install", "--quiet", "--python", python)
    _run(_uv(), "venv", "--quiet", venv, cwd=tmp_path)
    _run(*install, "--require-hashes", "-r", _REQUIREMENTS / f"{service}.txt", cwd=tmp_path)
    # The build backend stands aside, so that what it needs itself is not there for the service to import.
    _run(*install, "--require-hashes", "--target", builder, "-r", _REQUIREMENTS / "build.txt", cwd=tmp_path)
    packages = (_ROOT / "shared", _ROOT / "services" / service)
    _run(*install, "--no-deps", "--no-build-isolation", *packages, cwd=tmp_path, PYTHONPATH=str(builder))
    _run(python, "-c", _EVERYTHING.format(package=service.replace("-", "_")), cwd=tmp_path)
    assert (venv / "bin" / f"sluiceway-{service}").exists()
