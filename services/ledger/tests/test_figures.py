"""The figures say what the books say, and cost the ledger nothing while it works."""

from uuid import uuid4

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from ledger.figures import Figures
from ledger.operations import Ledger
from runtime.database import Database

from .conftest import get
from .samples import CREDIT, completed, failed, request, requested

pytestmark = pytest.mark.connected


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
