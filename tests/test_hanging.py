"""A test that hangs must say where, or a run of CI is lost for nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_CONFTEST = """
from harness.hanging import HangWatch

def pytest_configure(config):
    config.pluginmanager.register(HangWatch(config, 1.0))
"""
_TESTS = """
import asyncio
import pytest

async def for_ever():
    await asyncio.Event().wait()

@pytest.fixture
async def stuck():
    yield
    await for_ever()

async def test_that_hangs(stuck):
    running = asyncio.create_task(for_ever(), name="beside")
    await asyncio.sleep(0)

def test_that_passes():
    pass
"""


@pytest.mark.parametrize("processes", [(), ("-n", "1")])
def test_a_test_that_hangs_is_ended_and_told_with_what_its_tasks_await(
    tmp_path: Path, processes: tuple[str, ...]
) -> None:
    (tmp_path / "conftest.py").write_text(_CONFTEST)
    (tmp_path / "test_some.py").write_text(_TESTS)
    command = [sys.executable, "-m", "pytest", "-c", "/dev/null", "-o", "asyncio_mode=auto", "--rootdir", str(tmp_path)]
    ended = subprocess.run(
        [*command, *processes, "-p", "no:cacheprovider", str(tmp_path)],
        cwd=_ROOT, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    told = ended.stdout + ended.stderr
    assert ended.returncode != 0
    assert "test_some.py::test_that_hangs took 1.0 s" in told
    fixture = told[told.index("in stuck\n") :]
    assert fixture.splitlines()[1].endswith("in for_ever")
    assert "Task 'beside' waits in\n" in told
    if processes:
        assert "where a test hung" in ended.stdout
        # It hung as it was taken down, after it had passed.
        assert "1 failed, 2 passed" in ended.stdout
