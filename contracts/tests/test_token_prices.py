"""Prices per token and per character: the quote is the most it can cost, the cost what was used."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.money import Price, PriceList, Quote, TokenPrices, Usage, cost

PRICES = PriceList(
    version=3,
    prices={"chat": 6_000_000, "voice": 2_500},
    table=(
        Price(model="chat", amount=6_000_000, input_amount=1_500_000, per="million_tokens"),
        Price(model="voice", amount=2_500, per="thousand_characters"),
    ),
)


def test_a_text_is_quoted_at_most_and_paid_as_used() -> None:
    quote = PRICES.quote("chat", 1, usage=Usage(input_tokens=1000, output_tokens=2000))
    assert quote == Quote(
        amount=13_500, unit_price=13_500, price_version=3, tokens=TokenPrices(input=1_500_000, output=6_000_000)
    )
    assert cost(quote, 1, Usage(input_tokens=10, output_tokens=1)) == 21
    assert cost(quote, 0, Usage(input_tokens=10, output_tokens=1)) == 0
    assert cost(quote, 1) == 13_500  # nobody counted: what was delivered is not free


def test_a_price_that_is_not_told_how_much_is_no_price() -> None:
    assert PRICES.quote("chat", 1) is None
    assert PRICES.quote("voice", 1) is None


@pytest.mark.parametrize(("characters", "amount"), [(1, 3), (400, 1000), (1000, 2500), (1001, 2503)])
def test_a_voice_is_paid_by_the_character_and_rounded_up(characters: int, amount: int) -> None:
    quote = PRICES.quote("voice", 1, characters=characters)
    assert quote is not None
    assert quote.amount == amount


@given(*[st.integers(0, 10**7)] * 6)
def test_never_more_than_the_quote(
    price: int, input_price: int, asked: int, read: int, written: int, most: int
) -> None:
    prices = PriceList(
        version=1,
        prices={"chat": price},
        table=(Price(model="chat", amount=price, input_amount=input_price, per="million_tokens"),),
    )
    quote = prices.quote("chat", 1, usage=Usage(input_tokens=asked, output_tokens=most))
    assert quote is not None
    assert 0 <= cost(quote, 1, Usage(input_tokens=read, output_tokens=written)) <= quote.amount
