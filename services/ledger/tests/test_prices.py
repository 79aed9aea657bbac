"""New price lists: whole, versioned, and nothing in them is unpriced or free by mistake."""

import asyncio
from uuid import uuid4

import pytest

from contracts.money import Price, Usage
from contracts.questions import (
    MAX_PRICE_UNITS,
    SetPrices,
)
from ledger.pricing import price_list, set_prices

from .samples import CREDIT


def one(**fields) -> SetPrices:
    return SetPrices(prices=(Price(**({"model": "dall-e-2", "amount": CREDIT} | fields)),))


async def test_a_new_version_is_the_newest_with_the_change(database):
    before = await price_list(database)
    model = f"model-{uuid4()}"
    asked = one(model=model, amount=3 * CREDIT, per="million_tokens", input_amount=CREDIT, provider_cost_micros=15)
    assert (await set_prices(database, asked)).version == before.version + 1
    after = await price_list(database)
    assert after.version == before.version + 1
    assert [price for price in after.table if price.model != model] == list(before.table)
    quote = after.quote(model, 1, usage=Usage(input_tokens=1_000_000, output_tokens=1_000_000))
    assert (quote.amount, quote.price_version) == (4 * CREDIT, after.version)


async def test_asked_again_the_same_list_is_not_written_again(database):
    asked = one(model=f"model-{uuid4()}")
    first = await set_prices(database, asked)
    assert await set_prices(database, asked) == first


async def test_a_model_that_is_removed_is_not_for_sale(database):
    model = f"model-{uuid4()}"
    await set_prices(database, one(model=model))
    assert (await set_prices(database, SetPrices(remove=(model,)))).problem is None
    assert (await price_list(database)).quote(model, 1) is None


async def test_two_operators_at_once_lose_no_change(database, make_process):
    names = [f"model-{uuid4()}" for _ in range(6)]
    other = make_process()
    await asyncio.gather(*(set_prices([database, other][n % 2], one(model=name)) for n, name in enumerate(names)))
    assert set(names) <= (await price_list(database)).prices.keys()


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (one(amount=0), "would be free"),
        (one(amount=MAX_PRICE_UNITS + 1), "costs more than anything"),
        (one(model="never-heard-of", size="1x1"), "the rest is not free"),
        (one(model=" "), "no proper name"),
        (one(model="a\nb"), "no proper name"),
        (one(quality=""), "no proper name"),
        (one(input_amount=1), "not paid by tokens"),
        (SetPrices(prices=(Price(model="dall-e-2", amount=1), Price(model="dall-e-2", amount=2))), "two prices"),
        (SetPrices(remove=("never-heard-of",)), "no price that could be removed"),
    ],
)
async def test_b9_what_cannot_be_meant_is_said_and_nothing_is_written(database, asked, problem):
    before = await price_list(database)
    answer = await set_prices(database, asked)
    assert problem in answer.problem
    assert answer.version == before.version
    assert await price_list(database) == before


async def test_a_price_of_nothing_is_one_where_that_is_said(database):
    model = f"model-{uuid4()}"
    answer = await set_prices(database, one(model=model, amount=0).model_copy(update={"free": True}))
    assert answer.problem is None
    assert (await price_list(database)).quote(model, 1).amount == 0
