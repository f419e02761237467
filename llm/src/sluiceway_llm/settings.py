"""The settings of every service that calls a model."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class ModelSettings(BaseSettings):
    """Where the model is, and how long to wait for it. A service adds its own; see `Model.from_settings`.

    Times are seconds: to connect, until the first event of an answer, between bytes after that.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    openai_base_url: str = "https://api.openai.com/v1"
    openai_api_key: SecretStr = SecretStr("")
    model: str = Field(default="gpt-4.1-mini", min_length=1)
    model_connect_seconds: float = Field(default=5, gt=0)
    model_first_chunk_seconds: float = Field(default=120, gt=0)
    model_idle_seconds: float = Field(default=120, gt=0)
    model_attempts: int = Field(default=4, ge=1, le=20)
    max_output_tokens: int | None = Field(default=None, ge=1)
