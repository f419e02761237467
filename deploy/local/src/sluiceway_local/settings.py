"""What `make run` can be told, by environment variables (`make run PORT=8080` sets one).

Everything else that a service reads from the environment (LOG_LEVEL, LEASE_SECONDS, …) is passed on to it as it is.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from sluiceway_local import model
from sluiceway_local.errors import CannotRun

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

# What the services take where nothing is said.
OPENAI = "https://api.openai.com/v1"
DEFAULT_MODEL = "gpt-4.1-mini"


class Settings(BaseSettings):
    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)  # 0: a free one
    data_dir: Path = Path(".sluiceway")
    replicas: int = Field(default=1, ge=1, le=32)
    openai_base_url: str | None = None
    openai_api_key: SecretStr | None = None
    model: str | None = None
    model_headers: str = ""  # JSON, which the services read
    start_timeout_seconds: float = Field(default=120, gt=0)
    min_free_mb: int = Field(default=300, ge=0)

    @property
    def own_model(self) -> bool:
        """Whether the model is ours to run; naming a server or a key means it is somebody else's."""
        return self.openai_base_url is None and self.openai_api_key is None

    @property
    def server(self) -> str:
        """Somebody else's, where the services ask it."""
        return self.openai_base_url or OPENAI

    @property
    def asked_model(self) -> str:
        return self.model or (model.NAME if self.own_model else DEFAULT_MODEL)


def load() -> Settings:
    """Raises CannotRun that names every invalid variable."""
    try:
        settings = Settings()
    except ValidationError as error:
        raise CannotRun(" ".join(_complaint(detail) for detail in error.errors())) from error
    if settings.own_model and settings.model not in (None, model.NAME):
        raise CannotRun(
            f"MODEL={settings.model} names a model and no server that has it. Add OPENAI_BASE_URL=http://… or "
            "OPENAI_API_KEY=…, or leave MODEL out for the small one on this machine."
        )
    if "@" in (settings.openai_base_url or "").partition("//")[2].partition("/")[0]:
        raise CannotRun(
            "OPENAI_BASE_URL has a name and a password in it, and is told in logs. They belong into MODEL_HEADERS: "
            """MODEL_HEADERS='{"Authorization": "Basic …"}'."""
        )
    return settings


_SENTENCES = {
    "int_parsing": "is not a whole number",
    "float_parsing": "is not a number",
    "greater_than": "is too small: it must be more than {gt}",
    "greater_than_equal": "is too small: it must be {ge} or more",
    "less_than_equal": "is too large: it must be {le} or less",
}


def _complaint(detail: "ErrorDetails") -> str:
    sentence = _SENTENCES.get(detail["type"], "cannot be used: {reason}")
    told = sentence.format(reason=detail["msg"], **detail.get("ctx", {}))
    return f"{str(detail['loc'][0]).upper()}={detail['input']} {told}."
