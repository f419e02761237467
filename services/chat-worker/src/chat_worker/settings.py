"""The chat worker's settings, from the environment."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from sluiceway.process.settings import WorkerSettings
from sluiceway.wire.client_tools import ClientTool, read_client_tools
from sluiceway_llm.asking.continuation import PrefixDialect
from sluiceway_llm.asking.server_options import ServerOptions
from sluiceway_llm.settings import ModelSettings
from sluiceway_llm.windows import LEAST

from chat_worker.prompt.system_prompt import Template, from_file


class Settings(ModelSettings, WorkerSettings):
    worker_slots: int = Field(default=100, ge=1, le=2000)

    models: list[str] = Field(default_factory=list, description="further models that a request may choose, as JSON")
    model_continuation: PrefixDialect | Literal["none", "background"] = Field(
        default="none", description="how the server is asked to continue an answer that a dead worker had begun"
    )
    model_hold_seconds: float = Field(
        default=2, ge=0, description="a longer wait for a model that is away is spent without a worker"
    )
    titles: bool = Field(default=True, description="of new sessions, made by a model")
    title_model: str | None = Field(default=None, min_length=1, description="a small one; none: MODEL")
    model_window_tokens: int | None = Field(
        default=None, ge=LEAST, description="prompt and answer together; none: as the server tells, or as is known"
    )
    max_context_messages: int = Field(default=1000, ge=1, le=10_000, description="of the conversation, at most")
    max_context_tokens: int = Field(
        default=128_000, ge=LEAST, description="of a request and its answer, at most, however large the model's window"
    )
    compaction: Literal["summary", "truncate"] = Field(
        default="summary", description="what takes the place of messages that do not fit any more: notes, or nothing"
    )
    summary_model: str | None = Field(default=None, description="writes the notes; none: the turn's own model")
    summary_seconds: float = Field(
        default=10, gt=0, description="a turn waits for notes; then it is answered without, and the next one has them"
    )
    max_picture_bytes: int = Field(
        default=8 * 1024 * 1024, ge=0, description="of the pictures that go with one request, the newest first"
    )
    files_public_url: str | None = Field(
        default=None, pattern=r"^https?://", description="where the model's server finds files itself, by their ids"
    )
    offer_tools: bool = Field(default=True, description="false: the model knows no tools; people call them by /name")
    direct_tools: Literal["all", "signed-in", "off"] = Field(
        default="all", description="who may run a tool by /name; off: such a message is one like any other"
    )
    max_steps: int = Field(default=12, ge=1, description="model calls of one turn; the last is offered no tools")
    max_tool_calls: int = Field(default=64, ge=1, description="of one turn")
    max_tool_calls_per_step: int = Field(default=16, ge=1)
    max_answer_chars: int = Field(
        default=1_000_000,
        ge=1,
        description="of one turn: text, reasoning and arguments; then it ends with the finish reason `length`",
    )
    system_prompt_file: Path | None = None
    greet_newcomers: bool = Field(default=True, description="a person's first conversation begins with a greeting")
    langfuse_prompt: str | None = Field(default=None, min_length=1, description="a prompt's name; none: no Langfuse")
    langfuse_label: str = Field(default="production", min_length=1, description="which version, by environment")
    langfuse_base_url: str | None = Field(default=None, pattern=r"^https?://")
    langfuse_public_key: str | None = None
    langfuse_secret_key: SecretStr = SecretStr("")
    langfuse_refresh_seconds: float = Field(default=60, ge=1)
    langfuse_timeout_seconds: float = Field(default=10, gt=0)
    client_tools_file: Path | None = Field(
        default=None, description="tools that every client runs itself: JSON, {name: {description, parameters}}"
    )
    client_tool_seconds: float = Field(default=3600, gt=0, description="how long a client's output is waited for")

    @model_validator(mode="after")
    def _prompt_is_there(self) -> Self:
        if self.system_prompt_file is not None and not self.system_prompt_file.is_file():
            raise ValueError(f"SYSTEM_PROMPT_FILE: there is no file {self.system_prompt_file}")
        self.load_prompt()
        if self.langfuse_prompt is not None and not (self.langfuse_base_url and self.langfuse_public_key):
            raise ValueError("LANGFUSE_PROMPT needs LANGFUSE_BASE_URL, LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY")
        return self

    @model_validator(mode="after")
    def _client_tools_are_some(self) -> Self:
        self.load_client_tools()
        return self

    def load_prompt(self) -> Template:
        """Raises ValueError: better at the start than in a turn."""
        file = self.system_prompt_file
        try:
            return from_file(file)
        except (OSError, ValueError) as error:
            raise ValueError(f"SYSTEM_PROMPT_FILE: {file} is no prompt: {error}") from error

    def load_client_tools(self) -> dict[str, ClientTool]:
        """Raises ValueError: better at the start than in a turn."""
        file = self.client_tools_file
        try:
            return read_client_tools(file.read_text("utf-8")) if file is not None else {}
        except (OSError, ValueError) as error:
            raise ValueError(f"CLIENT_TOOLS_FILE: {file} has no tools of clients: {error}") from error

    @property
    def server_options(self) -> ServerOptions:
        return super().server_options.with_(ServerOptions(window_tokens=self.model_window_tokens))

    @property
    def prefix_dialect(self) -> PrefixDialect | None:
        how = self.model_continuation
        return None if how == "none" or how == "background" else how

    def allows(self, model: str) -> bool:
        return model == self.model or model in self.models
