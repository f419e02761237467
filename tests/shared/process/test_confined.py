"""A program that reads a stranger's bytes: it has bounds, and can open nothing; whatever becomes of it is told."""

import gc
import os
from pathlib import Path

import psutil
import pytest
from sluiceway.process.confined import Confined, NotRead

pytestmark = pytest.mark.requirement("SE-4", "CH-17")

HEAD = """
import json, os, socket, sys
sys.path[:0] = sys.argv[1:2]
from sluiceway.process import confined_child
confined_child.CPU_SECONDS = 1
confined_child.give_up_everything()
limits = confined_child.resource
content = sys.stdin.buffer.read()
def say(value): print(json.dumps(value), flush=True)
def tried(call):
    try:
        call()
    except BaseException as error:
        return type(error).__name__
    return "done"
"""


def program(tmp_path: Path, body: str) -> Confined:
    path = tmp_path / "reader.py"
    path.write_text(HEAD + body)
    return Confined(path, ("sluiceway",), seconds=10, at_once=1)


async def test_it_answers_and_can_open_nothing(tmp_path: Path) -> None:
    os.environ["A_SECRET"] = "secret"
    body = """
say({
    "read": len(content), "environment": [name for name in os.environ if "SECRET" in name],
    "file": tried(lambda: open("/etc/passwd")), "socket": tried(socket.socket),
    "memory": tried(lambda: bytearray(1 << 30)),
    "limits": {name: limits.getrlimit(getattr(limits, f"RLIMIT_{name}"))[0] for name in sys.argv[2:]},
})
"""
    # Not all of them hold a process of root.
    expected = {"AS": 512 << 20, "CPU": 1, "CORE": 0, "FSIZE": 0, "NPROC": 0, "NOFILE": 0}
    told = await program(tmp_path, body).read(b"x" * 300_000, list(expected), 10_000)
    del os.environ["A_SECRET"]
    assert told["read"] == 300_000
    assert told["limits"] == expected
    assert told["environment"] == []
    assert told["file"] == "OSError"
    assert told["socket"] == "OSError"
    assert told["memory"] == "MemoryError"


@pytest.mark.parametrize(
    "body",
    ["while True: pass", "say('x' * 100_000)", "print('no JSON')", "sys.exit(3)", "os.kill(os.getpid(), 9)"],
    ids=["computes for ever", "says too much", "says nonsense", "says nothing", "dies"],
)
async def test_whatever_becomes_of_it_is_told(tmp_path: Path, body: str) -> None:
    with pytest.raises(NotRead):
        await program(tmp_path, body).read(b"x", [], 10_000)
    assert not [child for child in psutil.Process().children() if "reader.py" in " ".join(child.cmdline())]


async def test_who_says_too_much_is_not_waited_for(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    said_and_waits = "say('x' * 1_000_000); import time; time.sleep(60)"
    with pytest.raises(NotRead) as raised:
        await program(tmp_path, said_and_waits).read(b"x", [], 10_000)
    assert isinstance(raised.value.__cause__, ValueError)
    gc.collect()
    assert not [warning for warning in recwarn if warning.category is ResourceWarning], "its pipe is still open"


async def test_who_waits_for_something_else_is_ended_with_its_time(tmp_path: Path) -> None:
    path = tmp_path / "reader.py"
    path.write_text("import time; time.sleep(60)")
    with pytest.raises(NotRead):
        await Confined(path, (), seconds=0.5, at_once=1).read(b"", [], 10)
