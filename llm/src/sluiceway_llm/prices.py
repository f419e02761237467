"""What a model call costs: by the settings, else by the list of prices that comes with genai-prices.

Guarantees: nothing is fetched; the list is the one of the installed wheel. A price is that of the provider whose
address is `OPENAI_BASE_URL`, or that MODEL_PRICE_PROVIDER names: a model of a server of one's own has no price but one
of the settings, whatever its name. A price that is not known is None, never 0, and nothing here can fail an answer.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from sluiceway_llm.model_events import Usage

_MILLION = 1_000_000


class Price(BaseModel):
    """USD for a million tokens. `cached_input`: of input that the server had in its cache; None: as other input."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached_input: float | None = Field(default=None, ge=0)

    def of(self, usage: Usage) -> float:
        tokens = usage.input_tokens or 0
        cached = min(usage.cached_input_tokens or 0, tokens)
        of_cached = self.input if self.cached_input is None else self.cached_input
        paid = (tokens - cached) * self.input + cached * of_cached + (usage.output_tokens or 0) * self.output
        return paid / _MILLION


class Prices:
    """`by_model`: those of the settings, which win. `provider`: its name in genai-prices; None: by the address."""

    def __init__(self, base_url: str, by_model: Mapping[str, Price] | None = None, provider: str | None = None) -> None:
        self._base_url = base_url
        self._by_model = by_model or {}
        self._provider = provider
        self._listed: Callable[[str, Usage], float | None] | None = None

    def load(self) -> None:
        """Read the list, which takes a second and some dozens of MB: once, in a thread, and only where the provider is
        in it. Raises ValueError for a provider that is named and unknown."""
        if self._provider is None and _is_ours(self._base_url):
            return
        from genai_prices.data_snapshot import get_snapshot

        try:
            get_snapshot().find_provider(None, self._provider, None if self._provider else self._base_url)
        except LookupError as error:
            if self._provider is not None:
                raise ValueError(f"MODEL_PRICE_PROVIDER: genai-prices knows no provider {self._provider!r}") from error
            return
        self._listed = self._from_list

    def cost(self, model: str, usage: Usage) -> float | None:
        """In USD."""
        price = self._by_model.get(model)
        if price is not None:
            return price.of(usage)
        return self._listed(model, usage) if self._listed is not None else None

    def _from_list(self, model: str, usage: Usage) -> float | None:
        from genai_prices import Usage as Listed
        from genai_prices import calc_price

        tokens = usage.input_tokens or 0
        listed = Listed(
            input_tokens=tokens,
            output_tokens=usage.output_tokens or 0,
            cache_read_tokens=min(usage.cached_input_tokens or 0, tokens),
        )
        where: Any = {"provider_id": self._provider} if self._provider else {"provider_api_url": self._base_url}
        try:
            return float(calc_price(listed, model, **where).total_price)
        except (LookupError, ValueError, TypeError, ArithmeticError):
            return None


def _is_ours(base_url: str) -> bool:
    """A server of this machine is in no list."""
    return any(host in base_url for host in ("//127.", "//localhost", "//[::1]", "//host.docker.internal"))
