"""What a process knows is not to be read from outside: not from its environment, nor from its memory."""

import json
import subprocess
import sys

import pytest
from sluiceway.process.secrecy import secret_names
from tool_runner.settings import Settings

_PROGRAM = """
import ctypes, json, os, subprocess
from pathlib import Path
from sluiceway.process.secrecy import keep_secrets

keep_secrets({"SECRET", "LAST"})
child = subprocess.run(["env"], capture_output=True, text=True).stdout
seen = Path("/proc/self/environ").read_text() if os.geteuid() == 0 else ""
print(json.dumps({
    "seen": seen,
    "child": child,
    "known": os.environ["SECRET"],
    "dumpable": ctypes.CDLL(None).prctl(3, 0, 0, 0, 0),
    "files": len(os.listdir("/proc/self/fd")),
}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_secrets_leave_the_environment_block_and_the_process_is_not_dumpable() -> None:
    environment = {"BEFORE": "plain", "SECRET": "sesame", "LAST": "sesame too", "AFTER": "plain as well"}
    run = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    told = json.loads(run.stdout)
    assert "sesame" not in told["seen"] + told["child"]
    assert {"BEFORE=plain", "AFTER=plain as well"} <= set(told["child"].splitlines())
    assert (told["known"], told["dumpable"]) == ("sesame", 0)
    assert told["files"] > 0


def test_secrets_are_known_by_their_type_however_deep_they_are() -> None:
    names = secret_names(Settings)
    assert names == {
        "DATABASE_DIRECT_URL",
        "DATABASE_URL",
        "HTTP_OPERATIONS",
        "MCP_SERVERS",
        "MODEL_OPTIONS",
        "OPENAI_API_KEY",
        "REDIS_URL",
        "WEBHOOK_SECRETS",
    }
