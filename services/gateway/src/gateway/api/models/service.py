"""The service itself: whether it is ready, and what a client may want to know before it asks."""

from typing import Literal

from pydantic import Field

from gateway.api.models.messages import Policy
from gateway.api.models.wire import Wire


class Check(Wire):
    ok: bool
    detail: str


class Readiness(Wire):
    """Whether a message would be accepted and answered. The checks `settings`, `completion_consumers`, `tool_runners`
    and `model` are told, and do not count."""

    status: Literal["ready", "not_ready"]
    checks: dict[str, Check]


class Health(Wire):
    status: Literal["ok"] = "ok"


class Limits(Wire):
    """0: no limit. Those of callers and addresses do not count where `auth` is `none`; what one may use a day does."""

    max_body_bytes: int
    max_message_chars: int
    max_context_chars: int = Field(description="of the page that a message comes with")
    max_file_bytes: int
    max_files_per_message: int
    max_files_per_user: int
    max_file_bytes_per_user: int
    max_queued_per_session: int
    max_turns_per_user: int
    max_turns_per_org: int = Field(description="of all users of an organisation")
    max_sessions_per_hour: int
    max_messages_per_day: int
    max_stored_bytes_per_user: int
    max_requests_per_minute: int
    max_requests_per_minute_per_key: int
    max_requests_per_minute_per_address: int
    max_newcomers_per_hour: int
    max_streams_per_user: int
    max_streams_per_address: int
    daily_tokens_per_user: int
    daily_cost_per_user: float
    default_page_size: int
    max_page_size: int


class PublicConfig(Wire):
    """What a client may want to know before it asks."""

    version: str
    auth: Literal["none", "anonymous", "jwt"]
    auth_required: bool
    sign_in_url: str | None = Field(default=None, description="where a browser signs in, with `?return_to=` a path")
    models: list[str] = Field(description="what a request may ask for; empty: whatever the model server knows")
    default_model: str | None = Field(
        default=None, description="the one that answers where a request names none, where this service was told"
    )
    share_links: bool = Field(default=False, description="whether a conversation can be shared by a link")
    suggestions: list[str] = Field(default=[], description="what a page may offer to ask where nothing was asked yet")
    policies: list[Policy]
    protocols: list[int]
    file_types: list[str] = Field(description="of files that are taken; empty: none are")
    limits: Limits
    model_windows: dict[str, int] = Field(
        description=(
            "how many tokens a model takes, its answer included, as far as workers know; under the empty name that "
            "of the default model"
        )
    )
    heartbeat_seconds: float
    replay_seconds: int = Field(description="how long an ended turn is what the stream of its chat shows")
    retention_seconds: int = Field(description="how long an ended turn's stream can still be replayed")
