"""What `make run` can be told, by environment variables (`make run PORT=8080` sets one).

Everything else that a service reads from the environment (LOG_LEVEL, LEASE_SECONDS, …) is passed on to it as it is.
"""

from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from sluiceway_local.errors import CannotRun


class Settings(BaseSettings):
    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)  # 0: a free one
    data_dir: Path = Path(".sluiceway")
    replicas: int = Field(default=1, ge=1, le=32)
    openai_base_url: str | None = None
    openai_api_key: SecretStr | None = None
    model: str | None = None
    start_timeout_seconds: float = Field(default=120, gt=0)
    min_free_mb: int = Field(default=300, ge=0)

    @property
    def own_model(self) -> bool:
        """Whether the model is ours to run; naming a server or a key means it is somebody else's."""
        return self.openai_base_url is None and self.openai_api_key is None


def load() -> Settings:
    """Raises CannotRun that names every invalid variable."""
    try:
        return Settings()
    except ValidationError as error:
        complaints = [f"{str(e['loc'][0]).upper()}={e['input']}: {e['msg']}" for e in error.errors()]
        raise CannotRun("; ".join(complaints)) from error
