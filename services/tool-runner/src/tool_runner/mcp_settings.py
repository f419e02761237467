"""The setting MCP_SERVERS: which MCP servers' tools are offered, and how each server is reached.

A JSON object, by name of the server: {"name": {"url": "https://…/mcp", "headers"?: {…}} | {"command": ["program",
"argument", …], "env"?: {…}, "cwd"?: "…"}, …}. Values of headers and of the environment are secrets: they are never
shown, and an invalid setting is not repeated in the error.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, model_validator

_QUICK_SECONDS = 60.0
_LONG_SECONDS = 1800.0

# The first two underscores of `{server}__{tool}` end the server's name, so no two servers can offer the same name.
McpServerName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z][a-zA-Z0-9-]*(_[a-zA-Z0-9-]+)*$", max_length=32)]


McpApproval = Literal["destructive", "all", "none"]


class McpServerSettings(BaseModel):
    """One MCP server: a `url` (Streamable HTTP) or a `command` (a child process that is spoken to over its pipes).

    `timeout_seconds`: of one call; without it 60, or 1800 where `long` says that the server's tools may take their
    time. `refresh_seconds`: how often the tools are listed again, which also finds out whether the server is there.
    `tools`: the server's names of those that are offered; without it all are, at most `max_tools`. `approval`: which of
    them a person must agree to: "destructive" (those that call themselves so, or say nothing of it and do not call
    themselves read-only), "all" or "none"; without it, as MCP_APPROVE_DESTRUCTIVE says. `background`: none of them
    blocks a turn; a tool may say so itself, by `"sluiceway/background": true` in its `_meta`. `protocol`: "legacy" for
    a server that cannot bear to be asked which version it speaks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str | None = Field(default=None, pattern=r"^https?://[^/\s]+")
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    command: tuple[str, ...] = ()
    env: dict[str, SecretStr] = Field(default_factory=dict)
    cwd: Path | None = None
    long: bool = False
    timeout_seconds: float | None = Field(default=None, gt=0)
    refresh_seconds: float = Field(default=120, ge=0.1)
    tools: frozenset[Annotated[str, Field(min_length=1, max_length=1000)]] | None = None
    max_tools: int = Field(default=64, ge=1, le=1000)
    approval: McpApproval | None = None
    background: bool = False
    protocol: Literal["auto", "legacy"] = "auto"

    @property
    def call_seconds(self) -> float:
        return self.timeout_seconds or (_LONG_SECONDS if self.long else _QUICK_SECONDS)

    @model_validator(mode="after")
    def _one_way_to_reach_it(self) -> Self:
        if (self.url is None) == (not self.command):
            raise ValueError("an MCP server has either a url or a command")
        if self.url is None and self.headers:
            raise ValueError("headers are for a url")
        if self.url is not None and (self.env or self.cwd is not None):
            raise ValueError("env and cwd are for a command")
        return self
