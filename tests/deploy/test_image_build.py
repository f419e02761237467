"""The build stage of the Dockerfile does what it says, without an engine: its instructions are run in a folder.

What an engine adds, the base image and the last stage's settings, is read by `test_images` and not tried here.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy import manifests

pytest.importorskip("ensurepip", reason="the instructions make venvs with a pip: apt-get install python3-venv")
pytestmark = pytest.mark.requirement("OP-3")

_NOT_FOR_THE_BUILDER = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.md", ".venv", "dist", "build", "page")
_IMPORTED = "import importlib.util, sys; print(*[name for name in sys.argv[1:] if importlib.util.find_spec(name)])"


# One that calls no model, and one that does.
_PACKAGES = {"gateway": {"gateway", "sluiceway"}, "chat-worker": {"chat_worker", "sluiceway", "sluiceway_llm"}}


def test_the_image_holds_the_service_and_those_of_our_packages_that_it_names(tmp_path: Path) -> None:
    # Layers that know no service are the same for all, and made once, as an engine does it.
    base = tmp_path / "base"
    for instruction in _build_stage("gateway")[0]:
        _follow(instruction, base)
    for service, packages in _PACKAGES.items():
        root = tmp_path / service
        shutil.copytree(base / "src", root / "src")
        shutil.copytree(base / "opt/sluiceway", root / "opt/sluiceway", symlinks=True)
        (root / "opt/build").symlink_to(base / "opt/build")
        for instruction in _build_stage(service)[1]:
            _follow(instruction, root)
        _holds(root / "opt/sluiceway", service, packages)


def _holds(built: Path, service: str, packages: set[str]) -> None:
    programs = built / "bin"
    assert (programs / "sluiceway-service").resolve() == programs / f"sluiceway-{service}"
    ours = {"sluiceway", "sluiceway_llm", *(name.replace("-", "_") for name in manifests.SERVICES)}
    assert set(_output_of([programs / "python", "-I", "-c", _IMPORTED, *ours]).split()) == packages
    pages = [path for path in built.rglob("index.html") if path.parent.name == "page"]
    assert len(pages) == (service == "gateway")
    # It comes as far as its settings.
    senseless = {"PATH": os.environ["PATH"], "DRAIN_SECONDS": "soon"}
    ended = subprocess.run(
        [programs / "sluiceway-service"], env=senseless, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode != 0
    assert "drain_seconds" in (ended.stdout + ended.stderr).lower()


def _build_stage(service: str) -> tuple[list[list[str]], list[list[str]]]:
    """What is the same for all services, which is all before ARG, and what comes after that."""
    instructions = manifests.dockerfile(service)
    _, first, second = (n for n, instruction in enumerate(instructions) if instruction[0] == "FROM")
    stage = instructions[first + 1 : second]
    told = stage.index(["ARG", "SERVICE"])
    return stage[:told], stage[told:]


def _follow(instruction: list[str], root: Path) -> None:
    match instruction:
        case ["COPY", "--from=page", _, target]:
            _put_page(root / target.lstrip("/"))
        case ["COPY", *sources, target]:
            for source in sources:
                _copy(manifests.ROOT / source, root / target.lstrip("/"))
        case ["RUN", *words]:
            _output_of(["sh", "-c", _moved(" ".join(words), root)])
        case ["ENV" | "ARG", *_]:
            pass
        case _:
            pytest.fail(f"no way to try {instruction}")


def _put_page(target: Path) -> None:
    """What the stage before has built; `make run` builds it from the same sources."""
    target.mkdir(parents=True)
    (target / "index.html").write_text("<!doctype html>")


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=_NOT_FOR_THE_BUILDER)
    else:
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def _moved(script: str, root: Path) -> str:
    """The script with its places in the image, /src and /opt, below `root`."""
    return re.sub(r"(?<!\S)/(src|opt)/", rf"{root}/\1/", script)


def _output_of(command: list[str | Path]) -> str:
    python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": python, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    words = [str(word) for word in command]
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
