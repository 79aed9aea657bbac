"""Amounts are integers; a capture never exceeds its quote."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts.money import Price, PriceList, Quote, cost, in_credits, to_units

amounts = st.integers(min_value=0, max_value=10**12)


@given(amounts, amounts, st.integers(min_value=0, max_value=1000))
def test_a_capture_never_exceeds_the_quote(amount: int, unit_price: int, delivered: int) -> None:
    """Design §3.6, P6."""
    quote = Quote(amount=amount, unit_price=unit_price, price_version=1)
    assert 0 <= cost(quote, delivered) <= amount
    assert cost(quote, 0) == 0


@given(st.integers(min_value=0, max_value=10**6), st.integers(min_value=1, max_value=4))
def test_everything_delivered_costs_the_quote(price: int, count: int) -> None:
    quote = PriceList(version=1, prices={"model": price}).quote("model", count)
    assert quote is not None
    assert cost(quote, count) == quote.amount == price * count


@given(amounts, st.integers(min_value=0, max_value=4), st.integers(min_value=0, max_value=100))
def test_what_was_made_before_costs_a_share_of_its_price(unit_price: int, delivered: int, percent: int) -> None:
    """Rounded down, from free to all of it."""
    quote = Quote(amount=unit_price * 4, unit_price=unit_price, price_version=1)
    whole = cost(quote, delivered)
    assert cost(quote, delivered, percent=percent) == whole * percent // 100 <= whole
    assert (cost(quote, delivered, percent=0), cost(quote, delivered, percent=100)) == (0, whole)


def test_a_model_without_a_price_is_refused_and_never_free() -> None:
    assert PriceList(version=1, prices={}).quote("model", 1) is None


TABLE = PriceList(
    version=3,
    prices={"painter": 10, "filmer": 7, "plain": 1},
    table=(
        Price(model="painter", amount=10),
        Price(model="painter", amount=40, quality="high"),
        Price(model="painter", amount=20, size="2048x2048"),
        Price(model="painter", amount=90, size="2048x2048", quality="high"),
        Price(model="filmer", amount=7, per="second"),
        Price(model="filmer", amount=100, quality="draft"),
        Price(model="unsold", amount=5, size="1x1"),
    ),
)


@pytest.mark.parametrize(
    ("model", "asked", "unit_price"),
    [
        ("plain", {}, 1),
        ("plain", {"size": "9x9", "quality": "high", "seconds": 5}, 1),
        ("painter", {}, 10),
        ("painter", {"size": "512x512", "quality": "low"}, 10),
        ("painter", {"quality": "high"}, 40),
        ("painter", {"size": "2048x2048"}, 20),
        ("painter", {"size": "2048x2048", "quality": "low"}, 20),
        ("painter", {"size": "2048x2048", "quality": "high"}, 90),
        ("filmer", {"seconds": 6}, 42),
        ("filmer", {"seconds": 6, "quality": "draft"}, 100),
        ("filmer", {}, None),
        ("filmer", {"seconds": 0}, None),
        ("unsold", {"size": "1x1"}, None),
        ("unknown", {}, None),
    ],
)
def test_the_most_special_price_that_fits_counts(model: str, asked: dict[str, Any], unit_price: int | None) -> None:
    quote = TABLE.quote(model, 3, **asked)
    expected = None if unit_price is None else Quote(amount=3 * unit_price, unit_price=unit_price, price_version=3)
    assert quote == expected


@given(st.integers(min_value=-(10**15), max_value=10**15))
def test_credits_as_json_are_exact(units: int) -> None:
    assert to_units(str(in_credits(units))) == units


@pytest.mark.parametrize(("text", "units"), [("10", 100_000), ("0.0001", 1), ("1.5", 15_000), (Decimal(3), 30_000)])
def test_credits_become_units(text: str, units: int) -> None:
    assert to_units(text) == units


@pytest.mark.parametrize("text", ["0.00001", "nan", "Infinity", "1e18", "", "ten", "1e-9"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    """B9."""
    with pytest.raises(ValueError, match="not an amount"):
        to_units(text)


@pytest.mark.parametrize("amount", [1.0, "1", True])
def test_no_float_is_taken_for_an_amount(amount: object) -> None:
    """Design §3.10."""
    with pytest.raises(ValidationError):
        Quote.model_validate({"amount": amount, "unit_price": 1, "price_version": 1})
