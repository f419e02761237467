"""Settings that every service has. A service adds its own and builds the whole once, in its `__main__`."""

import os
import socket
from datetime import timedelta
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from sluiceway import keys
from sluiceway.process.org_weights import OrgWeights
from sluiceway.process.retention import RetentionSettings
from sluiceway.process.secret_files import SecretFiles
from sluiceway.redis.url import RedisUrl

_OBJECT_STORES = ("file:", "s3://", "gs://", "az://", "abfss://", "https://")
# Whoever knows of no worker that says its own goes by this one.
DEFAULT_LEASE_SECONDS = 10.0


# Of a cluster of three primaries each has one at least; see `keys.work_queue`.
_PARTITIONS_ON_A_CLUSTER = 4


def _partitions(redis_url: str) -> int:
    clustered = redis_url and RedisUrl.parse(redis_url).topology == "cluster"
    return _PARTITIONS_ON_A_CLUSTER if clustered else 1


class CommonSettings(RetentionSettings):
    """Read from the environment, without a prefix. An invalid value fails the start, by name, and is not repeated.

    A secret may also be in a file that `NAME_FILE` names.
    """

    redis_url: str = "redis://127.0.0.1:6379/0"
    queue_partitions: int = Field(
        default_factory=lambda read: _partitions(read.get("redis_url", "")),
        ge=1,
        le=keys.MOST_PARTITIONS,
        description="of each work queue, on as many nodes of a cluster; 1 on one server, 4 on a cluster",
    )
    org_weights: str = Field(
        default="", description="ORG=WEIGHT, … and *=WEIGHT: so many turns has an organisation where others have one"
    )
    database_url: str = "postgresql://postgres@127.0.0.1:5432/sluiceway"
    database_direct_url: str | None = Field(
        default=None, description="past a pooler in transaction mode, for locks and migrations"
    )
    database_pool_size: int = Field(default=8, ge=1, le=100)
    database_timeout_seconds: float = Field(default=10, ge=0.1, le=300, description="for a statement or a connection")
    migrate_on_start: bool = True
    files_url: str = Field(
        default="file:files",
        description="where files are kept: file:FOLDER, s3://BUCKET, gs://…, az://…; empty: no files are taken",
    )
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    debuggable: bool = Field(default=False, description="core dumps and debuggers of the same user are let in")

    @field_validator("redis_url")
    @classmethod
    def _is_of_redis(cls, url: str) -> str:
        RedisUrl.parse(url)  # raises ValueError
        return url

    @field_validator("org_weights")
    @classmethod
    def _are_weights(cls, text: str) -> str:
        return str(OrgWeights.parse(text))  # raises ValueError; one text for what means the same

    @field_validator("database_url", "database_direct_url")
    @classmethod
    def _is_of_postgres(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("postgresql://", "postgres://")):
            raise ValueError("is no postgresql:// URL")
        return url

    @field_validator("files_url")
    @classmethod
    def _is_of_an_object_store(cls, url: str) -> str:
        if url and not url.startswith(_OBJECT_STORES):
            raise ValueError(f"must begin with one of {', '.join(_OBJECT_STORES)}, or be empty")
        return url

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, SecretFiles(settings_cls)

    @property
    def weights(self) -> OrgWeights:
        return OrgWeights.parse(self.org_weights)

    @property
    def database_timeout(self) -> timedelta:
        return timedelta(seconds=self.database_timeout_seconds)


def process_name() -> str:
    """Unique among living processes."""
    return f"{socket.gethostname()}-{os.getpid()}"


class WorkerSettings(CommonSettings):
    """Of services that speak no HTTP but for their health.

    `worker_name` is the consumer's name: unique among live processes. A restarted process that keeps its name (a
    container of the same pod) takes up at once what it had in flight. `lease_seconds` must be the same everywhere.
    """

    worker_name: str = Field(default_factory=process_name, min_length=1, max_length=200)
    lease_seconds: float = Field(default=DEFAULT_LEASE_SECONDS, ge=0.5, le=3600)
    worker_slots: int = Field(default=32, ge=1, le=2000, description="queue entries in flight at once")
    drain_seconds: float = Field(default=20, ge=0, description="for what is in flight on SIGTERM")
    max_deliveries: int = Field(default=5, ge=1, description="an entry that failed so often is a dead letter")
    health_host: str = "0.0.0.0"
    health_port: int = Field(default=8080, ge=0, le=65535)
