"""The completion consumer's settings, from the environment."""

from datetime import timedelta

from pydantic import Field, field_validator
from sluiceway.process.settings import WorkerSettings
from sluiceway.store.operating.retention import KeptFor, RowKind, SessionKind

LONGEST_REPEATS_DAYS = 3
# Longer than anybody says something about what was deleted: an operation's deadline, a sender's repeats.
ERASURES_DAYS = 30
# What the page says of a temporary chat: no setting, so that it is true everywhere.
TEMPORARY_DAYS = 1


class Settings(WorkerSettings):
    """`lease_seconds` is the chat workers' too: who has not renewed a queue entry for so long does not hold its
    turn."""

    drain_seconds: float = Field(default=10, ge=0)
    max_result_chars: int = Field(default=32_000, ge=200, description="of a result that the conversation carries")
    max_completion_bytes: int = Field(default=16 * 1024 * 1024, ge=1024, description="of a completion in its queue")
    park_hours: float = Field(default=24, gt=0, description="how long a completion waits for its operation")

    # 0: for ever.
    keep_operations_days: float = Field(default=90, ge=0, description="ended tool calls, with inputs and whole results")
    keep_journal_days: float = Field(default=30, ge=0, description="webhooks; longer than their senders repeat them")
    keep_dead_letters_days: float = Field(default=90, ge=0, description="queue entries that nobody could handle")
    keep_superseded_days: float = Field(default=30, ge=0, description="words of branches that are not shown")
    keep_anonymous_days: float = Field(
        default=90, ge=0, description="sessions of people who never signed in, when idle"
    )
    keep_sessions_days: float = Field(default=0, ge=0, description="all sessions, when idle")

    keep_unused_files_hours: float = Field(default=24, gt=0, description="uploads that no message has named")

    reconcile_seconds: float = Field(default=2, ge=0.1, le=300, description="between two rounds of the reconciler")
    settle_after_seconds: float = Field(default=3, ge=0, description="an ended turn older than that is finalized")
    agent_silence_seconds: float = Field(
        default=900, ge=1, description="an agent stream of which nothing was heard for so long has lost its publisher"
    )
    operation_claim_seconds: float = Field(
        default=60, ge=1, description="a tool call that waits for so long, and whose tool no runner offers, fails"
    )
    turn_deadline_seconds: float = Field(default=3600, gt=0, description="for what a turn does not wait for others")

    @field_validator("keep_journal_days")
    @classmethod
    def _outlasts_repeats(cls, days: float) -> float:
        """A webhook that is sent again after its row has gone would get another answer."""
        if 0 < days < LONGEST_REPEATS_DAYS:
            raise ValueError(f"senders repeat a webhook for {LONGEST_REPEATS_DAYS} days: keep it longer, or 0 for ever")
        return days

    @property
    def kept_for(self) -> KeptFor:
        rows: dict[RowKind, float] = {
            "old_operations": self.keep_operations_days,
            "old_journal": self.keep_journal_days,
            "old_dead_letters": self.keep_dead_letters_days,
            "old_superseded": self.keep_superseded_days,
            "old_erasures": ERASURES_DAYS,
        }
        sessions: dict[SessionKind, float] = {
            "old_anonymous_sessions": self.keep_anonymous_days,
            "old_sessions": self.keep_sessions_days,
            "old_temporary_sessions": TEMPORARY_DAYS,
        }
        return KeptFor(
            {kind: timedelta(days=days) for kind, days in rows.items() if days},
            {kind: timedelta(days=days) for kind, days in sessions.items() if days},
        )
