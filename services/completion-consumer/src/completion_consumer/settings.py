"""The completion consumer's settings, from the environment."""

from pydantic import Field
from sluiceway.process.settings import WorkerSettings


class Settings(WorkerSettings):
    """`lease_seconds` is the chat workers' too: who has not renewed a queue entry for so long does not hold its
    turn."""

    drain_seconds: float = Field(default=10, ge=0)
    max_result_chars: int = Field(default=32_000, ge=200, description="of a result that the conversation carries")
    max_completion_bytes: int = Field(default=16 * 1024 * 1024, ge=1024, description="of a completion in its queue")
    park_hours: float = Field(default=24, gt=0, description="how long a completion waits for its operation")

    reconcile_seconds: float = Field(default=2, ge=0.1, le=300, description="between two rounds of the reconciler")
    settle_after_seconds: float = Field(default=3, ge=0, description="an ended turn older than that is finalized")
    agent_silence_seconds: float = Field(
        default=900, ge=1, description="an agent stream of which nothing was heard for so long has lost its publisher"
    )
    turn_deadline_seconds: float = Field(default=3600, gt=0, description="for what a turn does not wait for others")
