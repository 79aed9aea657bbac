"""What was accepted, how it ended, what is late: the figures say what the rows say."""

import asyncio
from decimal import Decimal

import pytest
from nats.aio.client import Client as NatsClient
from prometheus_client import REGISTRY

from contracts.topology import DEAD
from gateway.figures import Figures
from runtime.broker import make_broker

from .kit import Kit
from .test_sweeper import kit, make_kit, shared_kit

__all__ = ["kit", "make_kit", "shared_kit"]
pytestmark = pytest.mark.connected


def figure(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


IMAGES = {"kind": "image", "lane": "interactive"}


async def test_the_unfinished_and_the_oldest_of_them(kit: Kit, settings, bus: NatsClient) -> None:
    broker = make_broker(settings.broker, "gateway")
    figures = Figures(kit.database, broker, Decimal("0.10"))
    accepted = figure("generations_accepted_total", **IMAGES) or 0.0
    first, _ = await kit.create(2)
    await kit.set("created_at = now() - interval '2 hours'", first)
    await kit.set("deadline_at = now() - interval '1 hour'", first)
    await figures.count_unfinished()
    assert figure("generations_accepted_total", **IMAGES) == accepted + 2
    assert figure("generations_unfinished", **IMAGES) == 2
    assert 7200 <= (figure("generations_oldest_unfinished_seconds", **IMAGES) or 0) < 7260
    assert figure("generations_overdue") == 1
    await kit.postgres.execute("TRUNCATE generations, slots")
    await figures.count_unfinished()
    assert figure("generations_unfinished", **IMAGES) is None, "what is gone is not shown any more"
    assert figure("generations_overdue") == 0


async def test_an_outcome_counts_once_whoever_records_it(client, players) -> None:
    ended = {"kind": "image", "verdict": "completed"}
    before = figure("generations_ended_total", **ended) or 0.0
    told = figure("notification_lag_seconds_count") or 0.0
    made = await client.accepted()
    await client.ended(made["id"])
    give_up_at = asyncio.get_running_loop().time() + 10
    while figure("notification_lag_seconds_count") == told and asyncio.get_running_loop().time() < give_up_at:
        await asyncio.sleep(0.02)
    assert figure("generations_ended_total", **ended) == before + 1
    assert (figure("notification_lag_seconds_count") or 0) > told


async def test_lag_and_dead_letters_come_from_the_bus(kit: Kit, settings, bus: NatsClient) -> None:
    broker = make_broker(settings.broker, "gateway")
    await broker.start()
    try:
        figures = Figures(kit.database, broker, Decimal("0.10"))
        await figures.count_dead()
        before = figure("dead_letters") or 0.0
        await bus.jetstream().publish("dead.gateway-record-outcomes", b"{}", stream=DEAD.name)
        await figures.count_dead()
        assert figure("dead_letters") == before + 1
    finally:
        await broker.stop()
    await kit.sweeper.sweep()
    assert figure("consumer_lag", consumer="gateway-record-outcomes") is not None
