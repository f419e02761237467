"""The completion consumer's settings, from the environment."""

import os
import socket

from pydantic import Field
from sluiceway.settings import CommonSettings


def _default_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


class Settings(CommonSettings):
    """`lease_seconds` is the chat workers': a turn whose holder was silent for two of them has lost its holder."""

    worker_name: str = Field(default_factory=_default_name, min_length=1, max_length=200)
    lease_seconds: float = Field(default=10, ge=0.5, le=3600)
    reconcile_seconds: float = Field(default=2, ge=0.1, le=300, description="between two rounds of the reconciler")
    settle_after_seconds: float = Field(default=3, ge=0, description="an ended turn older than that is seen through")
    health_host: str = "0.0.0.0"
    health_port: int = Field(default=8080, ge=0, le=65535)
