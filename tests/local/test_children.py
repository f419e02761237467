"""A child of `make run` has ended when it has, whatever it left behind holds its output open."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from sluiceway_local.display import Display
from sluiceway_local.process import Child, Program

from harness.waiting import wait_until

pytestmark = pytest.mark.requirement("OP-1")
# It leaves one behind that lives in a session of its own, with its output, as a tool may.
_LEAVES_ONE = 'setsid /bin/sleep 600 & echo $! >> left; echo $$ >> lives; trap "" TERM; while :; do {end}; done'


async def _ready() -> bool:
    return True


@asynccontextmanager
async def _kept(folder: Path, end: str) -> AsyncIterator[tuple[Child, "asyncio.Task[None]"]]:
    command = ("/bin/sh", "-c", f"cd {folder}; {_LEAVES_ONE.format(end=end)}")
    child = Child(Program("leaves-one", command, _ready), Display(), lambda: None)
    keeping = asyncio.create_task(child.keep())
    try:
        yield child, keeping
    finally:
        for pid in _numbers(folder / "left"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        keeping.cancel()
        await asyncio.wait([keeping])


def _numbers(file: Path) -> list[int]:
    return [int(line) for line in file.read_text().split()] if file.exists() else []


async def test_it_is_started_again(tmp_path: Path) -> None:
    async with _kept(tmp_path, "sleep 1") as (_, _):
        await wait_until(lambda: _numbers(tmp_path / "lives"), what="it lives")
        os.kill(_numbers(tmp_path / "lives")[0], signal.SIGKILL)
        await wait_until(lambda: len(_numbers(tmp_path / "lives")) == 2, 10, "it lives again")


async def test_it_is_stopped(tmp_path: Path) -> None:
    async with _kept(tmp_path, "sleep 1") as (child, keeping):
        await wait_until(lambda: _numbers(tmp_path / "lives"), what="it lives")
        await wait_until(lambda: child.pid, what="it is known")
        async with asyncio.timeout(10):
            await child.stop(0.2)  # it is deaf to SIGTERM
            await keeping
        assert child.pid is None
