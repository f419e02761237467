"""The gateway's settings, read once from the environment at the start."""

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator
from sluiceway.files.keeping import FileLimits
from sluiceway.files.kinds import KINDS, FileType
from sluiceway.operation.webhook_secrets import WebhookRoots
from sluiceway.store.sessions.files import Allowance

from gateway.caller_settings import CallerSettings
from gateway.limit_settings import LimitSettings

Suggestion = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]


class Settings(CallerSettings, LimitSettings):
    """What this service can be told; an invalid value or relation fails the start, by name."""

    port: int = Field(default=8000, ge=0, le=65535, description="0: a free port, which is logged")

    webhook_secrets: WebhookRoots = Field(default=(), description="the first signs, all are believed, as JSON")
    model: str | None = Field(default=None, description="the workers' model, where requests may name only known ones")
    models: tuple[str, ...] = Field(default=(), description="further models that a request may choose, as JSON")

    max_body_bytes: int = Field(default=4 * 1024 * 1024, ge=1024)
    max_webhook_bytes: int = Field(default=1024 * 1024, ge=1024)
    max_bodies_bytes: int = Field(default=16 * 1024 * 1024, ge=1024, description="of all that are read at once")
    max_answers_bytes: int = Field(default=32 * 1024 * 1024, ge=1024, description="of large ones sent at once")
    max_connections: int = Field(default=20_000, ge=0, description="open at once; 0: no limit")
    max_connections_per_address: int = Field(
        default=512, ge=0, description="of the public network; 0: no limit. Behind a proxy this is the proxy's to count"
    )
    max_stalled_bytes: int = Field(default=64 * 1024 * 1024, ge=1024, description="that wait for slow streams")
    max_progress_per_minute: int = Field(default=120, ge=1, description="webhooks, of one operation")
    max_message_chars: int = Field(default=32_000, ge=1)
    max_context_chars: int = Field(default=100_000, ge=0, description="of the page that a message comes with")
    max_file_bytes: int = Field(default=20 * 1024 * 1024, ge=1024)
    max_files_per_message: int = Field(default=10, ge=1, le=100)
    file_types: tuple[FileType, ...] = Field(default=KINDS, description="that are taken, by their content, as JSON")
    max_client_output_chars: int = Field(default=60_000, ge=1)
    max_queued_per_session: int = Field(default=20, ge=1)
    default_page_size: int = Field(default=50, ge=1)
    max_page_size: int = Field(default=200, ge=1, le=1000)

    share_links: bool = Field(default=True, description="people may share a conversation, read-only, by a link")
    suggestions: tuple[Suggestion, ...] = Field(
        default=(), max_length=8, description="what the page offers somebody to ask who has not asked anything, as JSON"
    )

    replay_seconds: int = Field(default=300, ge=0, description="how long an ended turn is what a chat's stream shows")
    heartbeat_seconds: float = Field(default=8, gt=0, le=10)
    body_timeout_seconds: float = Field(default=30, gt=0)
    upload_timeout_seconds: float = Field(default=300, gt=0, description="for a whole file")
    head_timeout_seconds: float = Field(default=20, gt=0, description="for a request's head to be complete")
    write_timeout_seconds: float = Field(default=45, gt=0, description="of a connection that takes nothing")
    keep_alive_seconds: int = Field(default=75, ge=1)
    check_timeout_seconds: float = Field(default=2, gt=0)
    pre_stop_seconds: float = Field(default=0, ge=0)
    drain_seconds: int = Field(default=10, ge=1)

    @property
    def known_models(self) -> tuple[str, ...]:
        """What a request may ask for; nothing: whatever it likes, and the worker decides."""
        return tuple(dict.fromkeys([*([self.model] if self.model else []), *self.models]))

    @property
    def file_limits(self) -> FileLimits:
        allowance = Allowance(self.max_files_per_user, self.max_file_bytes_per_user)
        return FileLimits(self.max_file_bytes, self.file_types, allowance)

    @model_validator(mode="after")
    def _relations_hold(self) -> Self:
        if self.default_page_size > self.max_page_size:
            raise ValueError("DEFAULT_PAGE_SIZE must not be larger than MAX_PAGE_SIZE")
        if max(self.max_body_bytes, self.max_webhook_bytes) > self.max_bodies_bytes:
            raise ValueError("MAX_BODIES_BYTES must have room for MAX_BODY_BYTES and MAX_WEBHOOK_BYTES")
        if self.max_message_chars > self.max_body_bytes:
            raise ValueError("MAX_MESSAGE_CHARS must not be larger than MAX_BODY_BYTES: no such message could arrive")
        return self
