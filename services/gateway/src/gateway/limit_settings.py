"""How much each caller may have. None of it counts where a gateway serves one machine alone (`AUTH=none`).

Addresses are counted only where they are a caller's: one of the public network, or what a proxy of TRUSTED_PROXIES
says.
Behind a proxy that is not named there, everybody has the proxy's address.
"""

import ipaddress
from typing import Literal, Self

from pydantic import Field, model_validator
from sluiceway.process.settings import CommonSettings
from sluiceway.store.people.usage import Budget


class LimitSettings(CommonSettings):
    """0: no limit."""

    max_requests_per_minute: int = Field(default=600, ge=0, description="of one user or anonymous person")
    max_requests_per_minute_per_key: int = Field(default=6000, ge=0, description="of one API key")
    max_requests_per_minute_per_address: int = Field(default=1200, ge=0)
    max_newcomers_per_hour: int = Field(default=100, ge=0, description="anonymous people, of one address")
    max_sessions_per_hour: int = Field(default=200, ge=0, description="that one caller begins")
    max_messages_per_day: int = Field(default=2000, ge=0, description="of one caller, within 24 hours")
    max_stored_bytes_per_user: int = Field(default=1024**3, ge=0, description="of messages, as Postgres keeps them")
    max_turns_per_user: int = Field(default=20, ge=0, description="that run or wait")
    max_turns_per_org: int = Field(default=200, ge=0, description="of all users of an organisation, that run or wait")
    max_streams_per_user: int = Field(default=64, ge=0, description="open at one gateway")
    max_streams_per_address: int = Field(default=256, ge=0, description="open at one gateway")
    max_files_per_user: int = Field(default=2000, ge=0, description="that are kept")
    max_file_bytes_per_user: int = Field(default=1024**3, ge=0, description="that are kept, of all files together")
    daily_tokens_per_user: int = Field(
        default=0, ge=0, description="input and output, within a day of UTC; also of nobody in particular"
    )
    daily_cost_per_user: float = Field(default=0, ge=0, allow_inf_nan=False, description="in USD, within a day of UTC")
    budget_reached: Literal["refuse", "ask"] = Field(
        default="refuse", description="new messages; ask: one that says `over_budget` is taken all the same"
    )
    trusted_proxies: tuple[str, ...] = Field(default=(), description="networks whose X-Forwarded-For is believed, JSON")

    @property
    def budget(self) -> Budget:
        return Budget(self.daily_tokens_per_user, self.daily_cost_per_user, asks=self.budget_reached == "ask")

    @model_validator(mode="after")
    def _proxies_are_networks(self) -> Self:
        for network in self.trusted_proxies:
            try:
                ipaddress.ip_network(network)
            except ValueError:
                raise ValueError("TRUSTED_PROXIES must be networks such as 10.0.0.0/8") from None
        return self
