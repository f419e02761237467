"""What a setting says of a server, or of one model of it, beside what is known and learned."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from sluiceway_llm.asking.dialects import Name
from sluiceway_llm.windows import LEAST

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


def _without_password(url: str) -> str:
    if "@" in url.partition("//")[2].partition("/")[0]:
        raise ValueError("a name and a password belong into MODEL_HEADERS, as Authorization, and not into an address")
    return url


ServerUrl = Annotated[str, AfterValidator(_without_password)]
"""Told in logs and to operators, so that nothing secret may stand in it."""


class ServerOptions(BaseModel):
    """`drop`: parameters that are not sent; `rename`: under which other name; `extra_body`: fields that are added, and
    win; `headers`: sent along (both may say `{user}`, see asker.py); `window_tokens`: how many tokens the model takes,
    prompt and answer together; `pictures`: whether it takes any; `reasoning_effort`: how much it is to think;
    `base_url`, `api_key`: of another server that has the model; `requests_per_minute`, `tokens_per_minute`: how often
    it may be asked (line.py); 0: as often as one likes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dialect: Name | None = None
    drop: frozenset[str] = frozenset()
    rename: Mapping[str, str] = Field(default_factory=dict)
    extra_body: Mapping[str, Any] = Field(default_factory=dict)
    headers: Mapping[str, str] = Field(default_factory=dict)
    window_tokens: int | None = Field(default=None, ge=LEAST)
    pictures: bool | None = None
    reasoning_effort: Effort | None = None
    base_url: ServerUrl | None = Field(default=None, pattern=r"^https?://")
    api_key: SecretStr | None = None
    requests_per_minute: int | None = Field(default=None, ge=0)
    tokens_per_minute: int | None = Field(default=None, ge=0)

    def with_(self, other: "ServerOptions") -> "ServerOptions":
        """These, and the other's, which win."""
        return ServerOptions(
            dialect=other.dialect or self.dialect,
            drop=self.drop | other.drop,
            rename={**self.rename, **other.rename},
            extra_body={**self.extra_body, **other.extra_body},
            headers={**self.headers, **other.headers},
            window_tokens=other.window_tokens or self.window_tokens,
            pictures=self.pictures if other.pictures is None else other.pictures,
            reasoning_effort=other.reasoning_effort or self.reasoning_effort,
            base_url=other.base_url or self.base_url,
            api_key=other.api_key or self.api_key,
            requests_per_minute=_first(other.requests_per_minute, self.requests_per_minute),
            tokens_per_minute=_first(other.tokens_per_minute, self.tokens_per_minute),
        )


def _first(*numbers: int | None) -> int | None:
    return next((number for number in numbers if number is not None), None)
