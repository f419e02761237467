"""What logs tell of exceptions: where, and of what class; never what they were about. In both formats."""

import asyncio
import json
import re
import subprocess
import sys
from typing import Literal

import pytest
from sluiceway.process.console import COLUMNS

SECRET = "heptagon-marker"
_PROGRAM = """
import asyncio, json, logging, sys
import asyncpg
from pydantic import BaseModel
from sluiceway.errors import NotStorable
from sluiceway.process.logs import configure_logging, get_logger

configure_logging("test", sys.argv[1], "info")
secret = "-".join(["heptagon", "marker"])

class Shape(BaseModel):
    number: int

def key(): return {}[secret]
def model(): return Shape.model_validate({"number": secret})
def parse(): return json.loads("{" + secret)
def decode(): return secret.encode().decode("utf-16-be", "strict").encode("ascii")
def row(): raise asyncpg.CheckViolationError(secret)
def chained():
    try: row()
    except Exception as error: raise NotStorable("constraint") from error
def group(): raise ExceptionGroup(secret, [ValueError(secret), KeyError(secret)])
def noted():
    error = RuntimeError(secret); error.add_note(secret); raise error

for act in (key, model, parse, decode, row, chained, group, noted):
    try: act()
    except Exception: get_logger().exception("failed", act=act.__name__)
    try: act()
    except Exception: logging.getLogger("library").exception("failed in a library")

async def forget():
    async def die(): raise ValueError(secret)
    task = asyncio.create_task(die()); await asyncio.sleep(0); del task
    import gc; gc.collect()

asyncio.run(forget())
raise ValueError(secret)
"""
pytestmark = pytest.mark.requirement("TS-13", "SE-5")


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_exceptions_are_logged_without_words_that_quote_and_without_values(
    log_format: Literal["json", "console"],
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PROGRAM, log_format, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output = (await process.communicate())[0].decode()
    assert SECRET not in output
    for told in ("KeyError", "pydantic_core._pydantic_core.ValidationError", "JSONDecodeError", "CheckViolationError"):
        assert told in output
    assert "NotStorable: The database does not take this, so nothing was changed. constraint" in output
    assert "The above exception was the direct cause" in output.replace("\\n", "\n")
    assert "never retrieved" in output
    assert process.returncode == 1
    lines = output.splitlines()
    if log_format == "json":
        assert sum('"exception"' in line and bool(json.loads(line)) for line in lines) == 17
    assert len(lines) < 500, "no locals"


async def test_a_message_is_two_lines_at_a_terminal_and_they_fit() -> None:
    """What goes wrong is told whole, and at level debug everything."""
    task = {"task_id": f"task_{'ab' * 16}", "session_id": "5f0c9a2e-88aa-4cf0", "trace_id": "cd" * 16}
    lines = f"""
import structlog, sys
from sluiceway.process.logs import configure_logging, get_logger
configure_logging("chat-worker", "console", sys.argv[1])
log = get_logger().bind(**{task!r}, worker="chat-worker-1")
log.info("turn_accepted", position=0)
log.info("http_request", method="POST", route="/api/chat", status=200, duration_ms=26.2)
log.info("turn_started", attempt=1, queued_ms=13)
log.info("turn_ended", status="completed", duration_ms=3410, model="a-model-with-a-rather-long-name-of-its-own")
log.warning("turn_failed", code="MODEL_AWAY", detail="nobody answers " * 9)
"""
    said = {}
    for level in ("info", "debug"):
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", lines, level, stdout=subprocess.PIPE)
        said[level] = (await process.communicate())[0].decode().splitlines()
    accepted, ended, failed = said["info"]
    assert re.fullmatch(r"\d\d:\d\d:\d\d turn_accepted task=abababab session=5f0c9a2e position=0", accepted)
    assert re.fullmatch(r"\S+ turn_ended task=abababab session=5f0c9a2e status=completed took=3.4s", ended)
    assert len(ended) <= COLUMNS
    assert "warning: turn_failed" in failed
    assert failed.count("nobody answers") == 9
    assert len(said["debug"]) == 5
    assert task["trace_id"] in said["debug"][0]
