"""The settings of every service that calls a model."""

from typing import Any, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from sluiceway_llm.asking.asker import UserAs
from sluiceway_llm.asking.dialects import Name
from sluiceway_llm.asking.server_options import Effort, ServerOptions, ServerUrl
from sluiceway_llm.prices import Price


class ModelSettings(BaseSettings):
    """Where the model is, and how long to wait for it. A service adds its own; see `Model.from_settings`.

    Times are seconds: to connect, until the first event of an answer, between bytes after that.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    openai_base_url: ServerUrl = "https://api.openai.com/v1"
    openai_api_key: SecretStr = SecretStr("")
    model: str = Field(default="gpt-4.1-mini", min_length=1)
    model_connect_seconds: float = Field(default=5, gt=0)
    model_first_chunk_seconds: float = Field(default=120, gt=0)
    model_idle_seconds: float = Field(default=120, gt=0)
    model_attempts: int = Field(default=100, ge=1, le=1000)
    model_patience_seconds: float = Field(default=300, ge=0, description="for a model that is away, in one turn")
    model_fallback: str | None = Field(
        default=None, min_length=1, description="asked where another model is away, overloaded or rate limited"
    )
    model_user: UserAs = Field(default="hash", description="how the server is told who asks: hash, raw or none")
    model_requests_per_minute: int = Field(
        default=0, ge=0, description="of each model, by all processes together; 0: as many as there are"
    )
    model_tokens_per_minute: int = Field(default=0, ge=0, description="the same, of prompts and answers")
    model_reasoning_effort: Effort | None = Field(default=None, description="how much models are to think")
    max_output_tokens: int | None = Field(default=None, ge=1)

    model_dialect: Name | Literal["auto"] = Field(
        default="auto", description="auto: by the server's address and answers"
    )
    model_drop_parameters: frozenset[str] = Field(default=frozenset(), description="that the server refuses, as JSON")
    model_rename_parameters: dict[str, str] = Field(default_factory=dict, description="old name to new, as JSON")
    model_extra_body: dict[str, Any] = Field(default_factory=dict, description="fields of every request, as JSON")
    model_headers: dict[str, str] = Field(default_factory=dict, description="headers of every request, as JSON")
    model_pictures: Literal["auto", "yes", "no"] = Field(
        default="auto", description="whether models take them; auto: by their names, and by what servers refuse"
    )
    model_options: dict[str, ServerOptions] = Field(
        default_factory=dict,
        description="by model: dialect, drop, rename, extra_body, headers, window_tokens, pictures, reasoning_effort,"
        " base_url, api_key, requests_per_minute, tokens_per_minute; as JSON",
    )
    model_prices: dict[str, Price] = Field(
        default_factory=dict, description="by model: USD for a million tokens, input, output, cached_input; as JSON"
    )
    model_price_provider: str | None = Field(
        default=None, description="whose prices genai-prices is asked for; None: the one at OPENAI_BASE_URL"
    )

    @property
    def limits_models(self) -> bool:
        """Whether any model may be asked only so often."""
        named = any(one.requests_per_minute or one.tokens_per_minute for one in self.model_options.values())
        return bool(self.model_requests_per_minute or self.model_tokens_per_minute or named)

    def limits_of(self, model: str) -> tuple[str, int, int]:
        """Its server, and how many requests and tokens it may be asked for in a minute; 0: any number."""
        own = self.model_options.get(model, ServerOptions())
        requests, tokens = own.requests_per_minute, own.tokens_per_minute
        return (
            own.base_url or self.openai_base_url,
            self.model_requests_per_minute if requests is None else requests,
            self.model_tokens_per_minute if tokens is None else tokens,
        )

    @property
    def server_options(self) -> ServerOptions:
        return ServerOptions(
            dialect=None if self.model_dialect == "auto" else self.model_dialect,
            drop=self.model_drop_parameters,
            rename=self.model_rename_parameters,
            extra_body=self.model_extra_body,
            headers=self.model_headers,
            pictures=None if self.model_pictures == "auto" else self.model_pictures == "yes",
            reasoning_effort=self.model_reasoning_effort,
        )
