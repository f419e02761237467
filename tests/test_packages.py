"""Each package installs alone and imports, a service from its own pins: the development environment hides what is
undeclared."""

import os
import subprocess
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from harness.processes.uv import find_uv

_ROOT = Path(__file__).parents[1]
_REQUIREMENTS = _ROOT / "requirements"
# Import names and folders of what services share, by the names that they require it by.
_SHARED = {"sluiceway-shared": ("sluiceway", _ROOT / "shared"), "sluiceway-llm": ("sluiceway_llm", _ROOT / "llm")}
_SERVICES = sorted(path.parent.name for path in _ROOT.glob("services/*/pyproject.toml"))
_EVERYTHING = """
import importlib, pkgutil, sys
for name in {packages}:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        importlib.import_module(module.name)
ours = {{"sluiceway", "sluiceway_llm", *{services}}}
assert ours & sys.modules.keys() == set({packages})
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


@pytest.mark.requirement("OP-3")
@pytest.mark.parametrize("service", _SERVICES)
def test_a_service_installs_from_its_own_pins_and_imports_without_the_others(service: str, tmp_path: Path) -> None:
    folder = _ROOT / "services" / service
    packages = {**_shared_by(folder), service.replace("-", "_"): folder}
    venv = _install(tmp_path, ["--require-hashes", "-r", str(_REQUIREMENTS / f"{service}.txt")], *packages.values())
    _run(venv / "bin" / "python", "-c", _import_everything(packages), cwd=tmp_path)
    assert (venv / "bin" / f"sluiceway-{service}").exists()


@pytest.mark.requirement("OP-3")
def test_the_model_client_needs_no_more_than_it_declares(tmp_path: Path) -> None:
    declared = ["--constraints", str(_REQUIREMENTS / "dev.txt"), *_project(_ROOT / "llm")["dependencies"]]
    venv = _install(tmp_path, declared, _ROOT / "llm")
    _run(venv / "bin" / "python", "-c", _import_everything(["sluiceway_llm"]), cwd=tmp_path)


def _import_everything(packages: Iterable[str]) -> str:
    """A program that imports these whole, and fails when one of the others came along."""
    services = [service.replace("-", "_") for service in _SERVICES]
    return _EVERYTHING.format(packages=list(packages), services=services)


def _install(directory: Path, dependencies: list[str], *packages: Path) -> Path:
    """A venv with nothing in it but these."""
    venv, builder = directory / "venv", directory / "builder"
    install = (find_uv(), "pip", "install", "--quiet", "--python", venv / "bin" / "python")
    _run(find_uv(), "venv", "--quiet", venv, cwd=directory)
    _run(*install, *dependencies, cwd=directory)
    # The build backend stands aside, so that what it needs itself is not there for the packages to import.
    _run(*install, "--require-hashes", "--target", builder, "-r", _REQUIREMENTS / "build.txt", cwd=directory)
    _run(*install, "--no-deps", "--no-build-isolation", *packages, cwd=directory, PYTHONPATH=str(builder))
    return venv


def _shared_by(service: Path) -> dict[str, Path]:
    return dict(found for name, found in _SHARED.items() if name in _project(service)["dependencies"])


def _project(folder: Path) -> dict[str, Any]:
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert isinstance(project, dict)
    return project
