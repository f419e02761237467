"""What the gateway of `make run` is told about who may call, by where it listens."""

import json
import stat
from pathlib import Path

import pytest
from sluiceway_local import environment

pytestmark = pytest.mark.requirement("OP-1", "GW-6")


@pytest.fixture(autouse=True)
def _quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AUTH", "JWT_SECRET", "OIDC_ISSUER", "JWKS_URL", "SESSION_SECRETS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.0.0.2"])
def test_on_loopback_everybody_is_one_person(host: str, tmp_path: Path) -> None:
    assert "SESSION_SECRETS" not in environment.of_gateway(tmp_path, host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "box.example"])
def test_where_others_can_reach_it_each_browser_is_a_person_of_its_own(host: str, tmp_path: Path) -> None:
    told = environment.of_gateway(tmp_path, host)
    [secret] = json.loads(told["SESSION_SECRETS"])
    assert len(secret) >= 32
    assert told["COOKIE_SECURE"] == "false"
    assert environment.of_gateway(tmp_path, host) == told
    assert stat.S_IMODE((tmp_path / "session.secret").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["AUTH", "JWT_SECRET", "OIDC_ISSUER", "JWKS_URL", "SESSION_SECRETS"])
def test_what_the_environment_says_of_callers_stands(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "something")
    assert "SESSION_SECRETS" not in environment.of_gateway(tmp_path, "0.0.0.0")
