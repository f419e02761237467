"""The setting MCP_SERVERS, and the names that tools get."""

import json
import re

import pytest
from pydantic import ValidationError
from sluiceway.wire.tools import TOOL_NAME_PATTERN
from tool_runner.mcp.names import offered_names
from tool_runner.settings import Settings

URL = "https://mcp.example/mcp"


def settings_of(monkeypatch: pytest.MonkeyPatch, value: object) -> Settings:
    monkeypatch.setenv("MCP_SERVERS", json.dumps(value))
    return Settings()


def test_servers_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = settings_of(
        monkeypatch,
        {
            "web": {"url": URL, "headers": {"Authorization": "Bearer sesame"}, "timeout_seconds": 5},
            "files": {"command": ["python", "server.py"], "env": {"KEY": "sesame"}, "cwd": "/srv", "long": True},
        },
    ).mcp_servers
    assert servers["web"].call_seconds == 5
    assert servers["files"].call_seconds == 1800
    assert servers["files"].command == ("python", "server.py")
    assert "sesame" not in repr(servers)


@pytest.mark.parametrize(
    ("name", "server"),
    [
        pytest.param("both", {"url": URL, "command": ["a"]}, id="a url and a command"),
        pytest.param("none", {}, id="neither"),
        pytest.param("ftp", {"url": "ftp://mcp.example/"}, id="no http"),
        pytest.param("typo", {"url": URL, "header": {}}, id="an unknown field"),
        pytest.param("env", {"url": URL, "env": {"A": "b"}}, id="an environment for a url"),
        pytest.param("headers", {"command": ["a"], "headers": {"A": "b"}}, id="headers for a command"),
        pytest.param("never", {"url": URL, "timeout_seconds": 0}, id="no time"),
        pytest.param("a__b", {"url": URL}, id="two underscores in the name"),
        pytest.param("a_", {"url": URL}, id="an underscore at the end of the name"),
        pytest.param("a b", {"url": URL}, id="a blank in the name"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, name: str, server: dict[str, object]
) -> None:
    secret = {"headers": {"Authorization": "sesame"}} if "url" in server else {"env": {"KEY": "sesame"}}
    with pytest.raises(ValidationError, match="mcp_servers") as refused:
        settings_of(monkeypatch, {name: {**secret, **server}})
    assert "sesame" not in str(refused.value)


def test_a_name_that_fits_is_kept() -> None:
    assert offered_names("files", ["read", "write-all_2"]) == {
        "files__read": "read",
        "files__write-all_2": "write-all_2",
    }


def test_names_that_do_not_fit_are_made_to_and_stay_apart() -> None:
    tools = ["files.read", "files/read", "files_write", "files write", "", "größe", "x" * 70, "x" * 70 + "y", "a.b"]
    names = offered_names("s", tools)
    assert sorted(names.values()) == sorted(tools)
    assert all(re.fullmatch(TOOL_NAME_PATTERN, name) for name in names)
    assert names["s__files_write"] == "files_write"
    assert names["s__a_b"] == "a.b"


def test_names_do_not_depend_on_the_order_of_the_listing() -> None:
    tools = ["a.b", "a/b", "a b", "y" * 99]
    assert offered_names("s", tools) == offered_names("s", [*reversed(tools), "a.b"])


def test_two_servers_never_offer_the_same_name() -> None:
    assert not offered_names("a", ["b__c", "_b", "c"]).keys() & offered_names("a_b", ["c", "_c"]).keys()
