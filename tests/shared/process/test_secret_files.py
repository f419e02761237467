"""Secrets out of files, as orchestrators mount them."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from sluiceway.process.secret_files import SecretFileUnreadable
from sluiceway.process.settings import CommonSettings

pytestmark = pytest.mark.requirement("SE-5")


class Settings(CommonSettings):
    token: SecretStr | None = None
    roots: tuple[SecretStr, ...] = ()
    plain: str = "default"


def test_a_secret_is_read_from_the_file_that_its_variable_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (("TOKEN", "geheim\n"), ("ROOTS", '["one", "two"]'), ("DATABASE_URL", "postgresql://u:p@db/x\n")):
        (tmp_path / name).write_text(text)
        monkeypatch.setenv(f"{name}_FILE", str(tmp_path / name))
    settings = Settings()
    assert settings.token is not None
    assert settings.token.get_secret_value() == "geheim"
    assert [root.get_secret_value() for root in settings.roots] == ["one", "two"]
    assert settings.database_url == "postgresql://u:p@db/x"
    assert "geheim" not in repr(settings)


def test_what_the_environment_says_itself_wins_and_only_secrets_come_from_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "value").write_text("of the file")
    for name in ("TOKEN_FILE", "PLAIN_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "value"))
    monkeypatch.setenv("TOKEN", "of the environment")
    settings = Settings()
    assert settings.token is not None
    assert settings.token.get_secret_value() == "of the environment"
    assert settings.plain == "default"


def test_a_file_that_cannot_be_read_fails_the_start_by_the_variable_s_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN_FILE", str(tmp_path / "nowhere"))
    with pytest.raises(SecretFileUnreadable, match="TOKEN_FILE"):
        Settings()
