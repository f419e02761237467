"""The chat worker's settings, from the environment."""

import os
import socket
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator
from sluiceway.settings import CommonSettings


def _default_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


class Settings(CommonSettings):
    """`worker_name` is the consumer's name: unique among live processes. A restarted process that keeps its name
    (a container of the same pod) takes up at once what it had in hand."""

    worker_name: str = Field(default_factory=_default_name, min_length=1, max_length=200)
    worker_slots: int = Field(default=100, ge=1, le=2000)
    lease_seconds: float = Field(default=10, ge=0.5, le=3600)
    drain_seconds: float = Field(default=20, ge=0)
    max_deliveries: int = Field(default=5, ge=1)
    health_host: str = "0.0.0.0"
    health_port: int = Field(default=8080, ge=0, le=65535)

    openai_base_url: str = "https://api.openai.com/v1"
    openai_api_key: SecretStr = SecretStr("")
    model: str = Field(default="gpt-4.1-mini", min_length=1)
    models: list[str] = Field(default_factory=list, description="further models that a request may choose, as JSON")
    model_connect_seconds: float = Field(default=5, gt=0)
    model_first_chunk_seconds: float = Field(default=120, gt=0)
    model_idle_seconds: float = Field(default=120, gt=0)
    model_attempts: int = Field(default=4, ge=1, le=20)
    max_output_tokens: int | None = Field(default=None, ge=1)
    max_context_messages: int = Field(default=100, ge=1, le=1000)
    system_prompt_file: Path | None = None

    @model_validator(mode="after")
    def _prompt_is_there(self) -> Self:
        if self.system_prompt_file is not None and not self.system_prompt_file.is_file():
            raise ValueError(f"SYSTEM_PROMPT_FILE: there is no file {self.system_prompt_file}")
        return self

    def allows(self, model: str) -> bool:
        return model == self.model or model in self.models
