"""The chat worker's settings, from the environment."""

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator
from sluiceway.settings import WorkerSettings


class Settings(WorkerSettings):
    worker_slots: int = Field(default=100, ge=1, le=2000)
    drain_seconds: float = Field(default=20, ge=0)
    max_deliveries: int = Field(default=5, ge=1)

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
    offer_tools: bool = Field(default=True, description="false: the model knows no tools; people call them by /name")
    max_steps: int = Field(default=12, ge=1, description="model calls of one turn; the last is offered no tools")
    max_tool_calls: int = Field(default=64, ge=1, description="of one turn")
    max_tool_calls_per_step: int = Field(default=16, ge=1)
    system_prompt_file: Path | None = None

    @model_validator(mode="after")
    def _prompt_is_there(self) -> Self:
        if self.system_prompt_file is not None and not self.system_prompt_file.is_file():
            raise ValueError(f"SYSTEM_PROMPT_FILE: there is no file {self.system_prompt_file}")
        return self

    def allows(self, model: str) -> bool:
        return model == self.model or model in self.models
