"""The routes of operations and webhooks keep to the OpenAPI document also for a caller who is trusted.

`test_openapi.py` tries every route as somebody whom nobody knows, and so learns of these only that they refuse.
"""

import asyncio
import sys
from pathlib import Path

import pytest

from harness.databases.database import Database
from harness.processes.services import Services
from tests.gateway.outside import API_KEY, add_operation, webhook_gateway

_CONFIGURATION = Path(__file__).parents[1] / "schemathesis.toml"


@pytest.mark.requirement("GW-7", "WH-3")
async def test_nothing_is_answered_to_a_trusted_caller_that_the_document_does_not_say(
    services: Services, database: Database, tmp_path: Path
) -> None:
    gateway = await webhook_gateway(services)
    # An id that is tried often, so that some of the webhooks find their operation.
    await database.execute("UPDATE operations SET id = '0' WHERE id = $1", await add_operation(database))
    options = ["--include-path-regex", "^/api/chat/(operations|webhooks)", "--seed", "2"]
    options += ["--header", f"x-api-key: {API_KEY}"]
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")),
        *("--config-file", str(_CONFIGURATION), "run", f"{gateway.url}/openapi.json", *options),
        *("--max-examples", "3", "--request-timeout", "10", "--continue-on-failure"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode(errors="replace")
    assert "Tested: 5" in output.decode()
    assert [line for line in gateway.log_lines if line["level"] == "error"] == []
    assert await database.fetchval("SELECT count(*) FROM webhook_journal") > 0
