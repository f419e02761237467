"""What calls cost, without a network."""

import pytest
from sluiceway_llm.model_events import Usage
from sluiceway_llm.prices import Price, Prices

USAGE = Usage(input_tokens=1000, output_tokens=200, cached_input_tokens=400)


@pytest.mark.requirement("CH-20")
def test_a_price_of_the_settings_wins_and_needs_no_list() -> None:
    prices = Prices("http://127.0.0.1:1/v1", {"m": Price(input=2, output=10, cached_input=0.5)})
    prices.load()

    assert prices.cost("m", USAGE) == pytest.approx((600 * 2 + 400 * 0.5 + 200 * 10) / 1e6)
    assert prices.cost("gpt-4.1-mini", USAGE) is None


@pytest.mark.requirement("CH-20")
def test_the_list_has_prices_of_the_provider_at_the_address_or_of_the_one_that_is_named() -> None:
    by_address, named = Prices("https://api.openai.com/v1"), Prices("http://127.0.0.1:1/v1", provider="openai")
    elsewhere = Prices("https://models.example.org/v1")
    for prices in (by_address, named, elsewhere):
        prices.load()

    cost = by_address.cost("gpt-4.1-mini", USAGE)
    assert cost is not None
    assert cost > 0
    assert named.cost("gpt-4.1-mini", USAGE) == cost
    assert by_address.cost("no-such-model", USAGE) is None
    assert elsewhere.cost("gpt-4.1-mini", USAGE) is None


@pytest.mark.requirement("CH-20")
def test_a_provider_that_is_not_known_is_told_at_the_start() -> None:
    with pytest.raises(ValueError, match="MODEL_PRICE_PROVIDER"):
        Prices("http://127.0.0.1:1/v1", provider="nobody").load()


@pytest.mark.requirement("CH-20", "CH-24")
@pytest.mark.parametrize(
    "usage", [Usage(), Usage(input_tokens=1, cached_input_tokens=99), Usage(output_tokens=2**53 - 1)]
)
def test_no_usage_that_a_server_tells_can_fail_an_answer(usage: Usage) -> None:
    prices = Prices("https://api.openai.com/v1")
    prices.load()

    cost = prices.cost("gpt-4.1-mini", usage)
    assert cost is None or cost >= 0
