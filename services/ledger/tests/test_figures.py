"""The figures say what the books say, and cost the ledger nothing while it works."""

from uuid import uuid4

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from contracts.facts import Cached
from contracts.money import Quote
from ledger.domain.holds import Hold, State
from ledger.figures import Figures, cost_micros
from ledger.operations import Ledger
from runtime.database import Database

from .conftest import get
from .samples import CREDIT, completed, failed, request, requested

pytestmark = pytest.mark.connected

_LISTED = text("""
    SELECT amount, provider_cost_micros AS micros FROM prices
    WHERE model = :model AND size = '' AND quality = '' ORDER BY version DESC LIMIT 1
""")


def figure(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_open_holds_and_their_age(database: Database, operations: Ledger) -> None:
    figures = Figures(database)
    await figures.count()
    before = figure("holds_open"), figure("holds_open_units")
    first, second = request(uuid4()), request(uuid4(), count=2)
    await operations.hold([requested(first), requested(second)])
    async with database.transaction() as connection:
        await connection.execute(
            text("UPDATE holds SET opened_at = now() - interval '3 hours' WHERE generation_id = :id"),
            {"id": first.generation_id},
        )
    await figures.count()
    assert (figure("holds_open"), figure("holds_open_units")) == (before[0] + 2, before[1] + 3 * CREDIT)
    assert 3 * 3600 <= figure("holds_oldest_open_seconds") < 3 * 3600 + 60
    await operations.settle([failed(first.generation_id), failed(second.generation_id)])
    await figures.count()
    assert figure("holds_open") == before[0]


async def test_what_was_captured_and_what_was_released(database: Database, operations: Ledger) -> None:
    captured, released = figure("holds_closed_total", state="captured"), figure("holds_closed_total", state="released")
    units = figure("credits_captured_units_total")
    first, second = request(uuid4(), count=2), request(uuid4())
    await operations.hold([requested(first), requested(second)])
    outcomes = [completed(first.generation_id, delivered=1), failed(second.generation_id)]
    for _ in range(2):  # said twice, counted once
        await operations.settle(outcomes)
    assert figure("holds_closed_total", state="captured") == captured + 1
    assert figure("holds_closed_total", state="released") == released + 1
    assert figure("credits_captured_units_total") == units + CREDIT


async def test_what_providers_take_for_what_was_sold(database: Database, operations: Ledger) -> None:
    """By the list; nothing for what was made before, nor where the list does not say it."""
    made, kept, unsold, unknown = request(uuid4(), count=2), request(uuid4()), request(uuid4()), request(uuid4())
    unknown = unknown.model_copy(update={"model": "nobody-knows-what-it-costs"})
    await Figures(database).count()
    for name in ("sold_units_total", "provider_cost_micros_total"):
        assert REGISTRY.get_sample_value(name, {"model": "veo-3.1"}) == 0, "there before the first one"
    units, micros = figure("sold_units_total", model=made.model), figure("provider_cost_micros_total", model=made.model)
    await operations.hold([requested(each) for each in (made, kept, unsold, unknown)])
    before = completed(kept.generation_id)
    earlier = Cached(generation_id=made.generation_id, percent=100)
    before = before.model_copy(update={"data": before.data.model_copy(update={"cached": earlier})})
    outcomes = [completed(made.generation_id, delivered=2), before, failed(unsold.generation_id)]
    await operations.settle([*outcomes, completed(unknown.generation_id)])
    async with database.statement() as connection:
        listed = (await connection.execute(_LISTED, {"model": made.model})).one()
    assert figure("sold_units_total", model=made.model) == units + 3 * CREDIT
    expected = 2 * CREDIT * listed.micros // listed.amount
    assert expected > 0
    assert figure("provider_cost_micros_total", model=made.model) == micros + expected
    assert figure("sold_units_total", model=unknown.model) == 0


@pytest.mark.parametrize(
    ("unit_price", "expected"),
    [
        (10_000, 40_000),
        (20_000, 60_000),  # a special price, listed
        (50_000, 200_000),  # five seconds of the general one
        (7_000, 28_000),  # a quote of an older list: the general share
    ],
)
def test_the_share_of_the_provider_is_that_of_the_listed_price(unit_price: int, expected: int) -> None:
    quote = Quote(amount=unit_price, unit_price=unit_price, price_version=1)
    hold = Hold(uuid4(), uuid4(), quote, State.CAPTURED, unit_price, model="any")
    assert cost_micros(hold, [(10_000, 40_000), (20_000, 60_000)]) == expected


async def test_disputes_and_corrections_are_seen(database: Database, operations: Ledger) -> None:
    figures = Figures(database)
    corrected = figure("holds_corrected_total", type="refund")
    asked = request(uuid4())
    await operations.hold([requested(asked)])
    await operations.settle([completed(asked.generation_id)])
    await operations.settle([failed(asked.generation_id)])  # the log says otherwise now
    await figures.count()
    assert figure("holds_disputed") == 1
    await operations.correct([failed(asked.generation_id)])
    await figures.count()
    assert figure("holds_disputed") == 0
    assert figure("holds_corrected_total", type="refund") == corrected + 1


async def test_a_running_ledger_shows_them(service) -> None:
    async with service() as app:
        status, body = await get(app, "/metrics")
        assert status == 200
        assert b"holds_oldest_open_seconds" in body
