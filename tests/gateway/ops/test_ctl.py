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


@pytest.mark.requirement("OP-6")
@pytest.mark.parametrize("database_url", ["", "psql"])
def test_keys_without_a_right_database_url_are_told_so_without_a_traceback(database_url: str) -> None:
    program = [sys.executable, "-m", "gateway.ctl", "keys", "list"]
    ended = subprocess.run(program, env={"DATABASE_URL": database_url}, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.startswith("sluicewayctl: the settings are not valid:\n")
    assert "\nDATABASE_URL: " in ended.stderr
    assert "pydantic" not in ended.stderr
    assert "Traceback" not in ended.stderr
