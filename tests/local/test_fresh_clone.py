"""What README names works with what `make run` installs and nothing else: the tests' own set would hide what lacks."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.processes.child import Child
from harness.processes.ports import free_port
from harness.processes.services import clean_environment
from harness.processes.uv import find_uv
from harness.waiting import block_until
from tests.local.stack import Stack

pytestmark = pytest.mark.requirement("OP-1")

_ROOT = Path(__file__).parents[2]
# What a clone has and a test needs; all that is left out is not of the runtime.
_LEFT_OUT = shutil.ignore_patterns(".*", "node_modules", "__pycache__", "tests", "harness", "bench", "chaos", "uv.lock")
_MAKE = ["make", ".venv/.runtime"]


@pytest.fixture(scope="module")
def fresh_clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the tracked parts in which make has made what `make run` needs first."""
    clone = tmp_path_factory.mktemp("fresh") / "clone"
    shutil.copytree(_ROOT, clone, ignore=_LEFT_OUT)
    path = f"{Path(find_uv()).parent}{os.pathsep}{os.environ['PATH']}"
    made = subprocess.run(
        _MAKE, cwd=clone, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=600, check=False
    )
    assert made.returncode == 0, made.stdout + made.stderr
    yield clone
    shutil.rmtree(clone)


@pytest.mark.parametrize("example", sorted(path.name for path in (_ROOT / "examples").glob("*.py")))
def test_an_example_imports_nothing_that_is_not_installed(fresh_clone: Path, example: str) -> None:
    imported = f"import runpy; runpy.run_path('examples/{example}', run_name='imported')"
    command = [str(fresh_clone / ".venv/bin/python"), "-c", imported]
    ended = subprocess.run(command, cwd=fresh_clone, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr


async def test_readmes_example_of_an_outside_service_ends_a_turn_by_its_webhook(
    fresh_clone: Path, tmp_path: Path
) -> None:
    (command,) = _commands_of_readme("python")
    port = free_port()
    words = [*command.split(), "--port", str(port)]
    outside = Child("outside", [str(fresh_clone / words[0]), *words[1:]], tmp_path / "outside.log")
    stack = Stack(tmp_path, HTTP_OPERATIONS=json.dumps({"example": f"http://127.0.0.1:{port}/operations"}))
    stack.run_by(fresh_clone / ".venv/bin/sluiceway-local")
    try:
        outside.start(environment=clean_environment(), directory=fresh_clone)
        block_until(lambda: "Operations are taken at" in outside.output or not outside.alive, 30, "it started")
        assert outside.alive, outside.output
        await stack.start()
        turn = await stack.ask(_message_of_readme("/http_operation").replace('"seconds": 10', '"seconds": 0.2'))
        assert (await turn.answer()).chunks[-1]["type"] == "finish"
        parts = (await stack.messages(turn.session_id))[-1]["parts"]
        assert [part["output"]["text"] for part in parts if "output" in part] == ["Done, elsewhere."]
    finally:
        stack.end()
        outside.end()


def test_readme_runs_no_other_program_of_the_venv() -> None:
    assert _commands_of_readme("") == _commands_of_readme("python")


def _commands_of_readme(program: str) -> list[str]:
    """The indented lines that run a program of the venv."""
    readme = (_ROOT / "README.md").read_text()
    return re.findall(rf"^    (\.venv/bin/{program}\S* .*)$", readme, re.MULTILINE)


def _message_of_readme(tool: str) -> str:
    (message,) = re.findall(rf"^    ({tool} .*)$", (_ROOT / "README.md").read_text(), re.MULTILINE)
    return str(message)
