"""What a frontend's requests cost the operator, by the providers' published prices, against what users pay for them."""

from decimal import Decimal

import pytest

from contracts.money import UNITS_PER_CREDIT, Price, PriceList, Usage
from gateway.dialects.social.translate import PREFERRED
from gateway.dialects.social.writing import MAX_TOKENS
from gateway.settings import MoneySettings
from tests.tables import Tables

pytestmark = pytest.mark.connected

PICTURES = 4
POST_BYTES = 500
MICROS_PER_DOLLAR = 1_000_000
NOT_PUBLISHED = {"gpt-image-2"}
"""Image models that the social frontend may choose and whose price is by tokens: an operator writes their own."""


async def prices_of(tables: Tables) -> PriceList:
    rows = await tables.admin.fetch(
        """SELECT model, amount, size, quality, per, input_amount, provider_cost_micros FROM ledger.prices
        WHERE version = 1"""
    )
    table = tuple(Price(**dict(row) | {"size": row["size"] or None, "quality": row["quality"] or None}) for row in rows)
    return PriceList(version=1, prices={price.model: price.amount for price in table if not price.rank[0]}, table=table)


def dollars(units: int) -> Decimal:
    return units * MoneySettings(credit_price=Decimal("0.10")).credit_price / UNITS_PER_CREDIT


async def social_models(tables: Tables) -> set[str]:
    """Those that draw for the social frontend, with one provider's key or another's."""
    rows = await tables.admin.fetch("SELECT id, successor FROM generator.models WHERE id = ANY ($1)", list(PREFERRED))
    return {row["id"] for row in rows} | {row["successor"] for row in rows}


async def test_four_pictures_of_the_social_frontend_bring_in_what_they_cost(tables: Tables) -> None:
    prices = await prices_of(tables)
    models = await social_models(tables)
    assert models == {"dall-e-3", "gpt-image-2", "stable-diffusion", "sd3.5-large"}
    for model in models:
        quote = prices.quote(model, PICTURES, size="1024x1024")
        assert quote is not None, model
        costs = [price.provider_cost_micros for price in prices.of(model) if price.fits("1024x1024", None)]
        assert (None in costs) == (model in NOT_PUBLISHED), model
        for micros in filter(None, costs):
            assert dollars(quote.amount) >= Decimal(PICTURES * micros) / MICROS_PER_DOLLAR, model


async def test_a_post_is_paid_by_its_tokens_and_costs_less_than_a_picture(tables: Tables) -> None:
    prices = await prices_of(tables)
    text_models = await tables.admin.fetch("SELECT id FROM generator.models WHERE kind = 'text' AND state = 'active'")
    picture = prices.quote("dall-e-3", 1)
    assert text_models and picture is not None
    for row in text_models:
        quote = prices.quote(row["id"], 1, usage=Usage(input_tokens=4 * POST_BYTES, output_tokens=MAX_TOKENS))
        assert quote is not None and quote.tokens is not None
        assert 0 < quote.amount < picture.amount, row["id"]


async def test_nothing_is_sold_for_less_than_it_is_known_to_cost(tables: Tables) -> None:
    known = [price for price in (await prices_of(tables)).table if price.provider_cost_micros is not None]
    assert len(known) > 20
    assert [
        price for price in known if dollars(price.amount) < Decimal(price.provider_cost_micros or 0) / MICROS_PER_DOLLAR
    ] == []
