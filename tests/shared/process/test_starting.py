"""Settings that no process can work with end it, in a sentence that names them."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from sluiceway.process.settings import CommonSettings
from sluiceway.process.starting import valid_settings


class _Listed(CommonSettings):
    models: Sequence[str] = ()


@pytest.mark.requirement("OP-2")
@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_file_of_certificates_that_cannot_be_read_is_named(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with pytest.raises(SystemExit, match=f"chat-worker: .*\nSSL_CERT_FILE: no certificates can be read from {path}: "):
        valid_settings("chat-worker", CommonSettings)


@pytest.mark.requirement("OP-2")
def test_a_list_that_is_not_written_as_json_is_told_how_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELS", "one,two")
    with pytest.raises(SystemExit, match=r'gateway: .*\n.*"models".*: a list or an object is written as JSON'):
        valid_settings("gateway", _Listed)
