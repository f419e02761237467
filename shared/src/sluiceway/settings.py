"""Settings that every service has. A service adds its own and builds the whole once, in its `__main__`."""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class CommonSettings(BaseSettings):
    """Read from the environment, without a prefix. An invalid value fails the start, by name."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    redis_url: str = "redis://127.0.0.1:6379/0"
    database_url: str = "postgresql://postgres@127.0.0.1:5432/sluiceway"
    database_pool_size: int = Field(default=8, ge=1, le=100)
    migrate_on_start: bool = True
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    live_ttl_seconds: int = Field(default=24 * 3600, ge=1)
    retention_seconds: int = Field(default=3600, ge=1)
