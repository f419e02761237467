"""The completion consumer's settings, from the environment."""

from pydantic import Field
from sluiceway.settings import WorkerSettings


class Settings(WorkerSettings):
    """`lease_seconds` is the chat workers': a turn whose holder was silent for two of them has lost its holder."""

    reconcile_seconds: float = Field(default=2, ge=0.1, le=300, description="between two rounds of the reconciler")
    settle_after_seconds: float = Field(default=3, ge=0, description="an ended turn older than that is seen through")
