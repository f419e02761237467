"""`sluicewayctl` as it is called at night: ten times in a row, on a machine that is busy."""

import subprocess
import sys

import pytest


@pytest.mark.requirement("OP-6")
def test_a_question_to_a_gateway_loads_nothing_that_talks_to_postgres_or_redis() -> None:
    program = "import sys, gateway.ctl.__main__; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert "httpx" in loaded
    assert not {"asyncpg", "redis", "pydantic", "starlette"} & set(loaded)
