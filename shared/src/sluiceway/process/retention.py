"""How long Redis keeps what is written to it: one definition, which everything that sets a TTL is given.

Guarantees: the times are those of the settings LIVE_TTL_SECONDS and RETENTION_SECONDS. Nothing that sets a TTL has a
default of its own, so none can disagree with them. A publisher that is given none reads the same settings.
"""

from dataclasses import dataclass
from datetime import timedelta

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


@dataclass(frozen=True, slots=True)
class Retention:
    """`live`: of what goes on, after its last refresh. `ended`: how long what has ended can be replayed; a job's
    events, which have no end, after the last of them."""

    live: timedelta
    ended: timedelta

    @property
    def live_ms(self) -> int:
        return int(self.live.total_seconds() * 1000)

    @property
    def ended_ms(self) -> int:
        return int(self.ended.total_seconds() * 1000)

    @classmethod
    def from_environment(cls) -> "Retention":
        """For programs that publish and are no service of ours: they have to be told the same as the services.

        Raises pydantic's ValidationError, by the name of the setting.
        """
        return RetentionSettings().retention


class RetentionSettings(BaseSettings):
    """The two settings, from the environment. They must be the same in every process."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    live_ttl_seconds: int = Field(default=24 * 3600, ge=1, description="what goes on, after its last refresh")
    retention_seconds: int = Field(default=3600, ge=1, description="what has ended")

    @property
    def retention(self) -> Retention:
        return Retention(timedelta(seconds=self.live_ttl_seconds), timedelta(seconds=self.retention_seconds))
