"""The tool runner's settings, from the environment. A tool of yours has settings of its own."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, HttpUrl, model_validator
from sluiceway.operation.webhook_secrets import WebhookRoots
from sluiceway.process.settings import WorkerSettings
from sluiceway_llm.settings import ModelSettings

from tool_runner.mcp_settings import McpServerName, McpServerSettings

Name = Annotated[str, Field(min_length=1)]


class Settings(ModelSettings, WorkerSettings):
    long_slots: int = Field(default=32, ge=1, le=2000)

    redis_wait_replicas: int = Field(default=0, ge=0, le=10, description="that are to have an operation's end")
    redis_wait_ms: int = Field(default=200, ge=1, le=4000, description="how long each end waits for them")

    tools_dir: Path | None = None
    tools_disabled: list[Name] = Field(default_factory=list)
    tools_needing_approval: list[Name] = Field(default=["web_fetch"])
    tools_in_background: list[Name] = Field(
        default_factory=list, description="that never block a turn, whatever they say themselves"
    )
    tool_wait_seconds: float = Field(default=15, ge=0, description="for a runner that has the tool")
    max_result_bytes: int = Field(default=1024 * 1024, ge=1024)
    max_file_bytes: int = Field(default=20 * 1024 * 1024, ge=1024, description="of a file that a tool keeps")
    max_offered_bytes: int = Field(
        default=128 * 1024, ge=1024, description="of all tools' descriptions: each call of a model carries them"
    )

    web_fetch_seconds: float = Field(default=20, gt=0, le=300)
    web_fetch_max_bytes: int = Field(default=2 * 1024 * 1024, ge=1024)
    web_fetch_allow_private: list[Name] = Field(default_factory=list)

    mcp_servers: dict[McpServerName, McpServerSettings] = Field(default_factory=dict)
    mcp_approve_destructive: bool = True

    public_url: HttpUrl | None = None
    webhook_secrets: WebhookRoots = ()
    http_operations: dict[Name, HttpUrl] = Field(default_factory=dict)
    http_operation_deadline_seconds: float = Field(default=3600, gt=0)

    @model_validator(mode="after")
    def _tools_dir_is_there(self) -> Self:
        if self.tools_dir is not None and not self.tools_dir.is_dir():
            raise ValueError(f"TOOLS_DIR: there is no directory {self.tools_dir}")
        return self
