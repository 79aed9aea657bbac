"""Who waits for an outcome records it first; the consumer of outcomes is handed that and need not do so again."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from contracts.facts import Request, Verdict
from gateway import records
from gateway.identity import Caller
from gateway.settings import Settings
from gateway.waiting import Verdicts
from runtime.broker import make_broker
from runtime.database import Database
from runtime.settings import BrokerSettings

from .client import Client
from .outcomes import outcome_of
from .players import Players

pytestmark = pytest.mark.connected


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    made = Database(settings.database, "test")
    yield made
    await made.close()


@pytest.fixture
def verdicts(database: Database) -> Verdicts:
    """Without a bus: what is heard is said by the test."""
    return Verdicts(make_broker(BrokerSettings(nats_url="nats://127.0.0.1:1"), "test"), database, 30)


@pytest.fixture
async def requests(client: Client, players: Players) -> list[Request]:
    """Of which nobody said anything yet."""
    players.scripts[client.user_id] = players.hold
    return [await players.heard((await client.accepted())["id"]) for _ in range(2)]


async def recorded(verdicts: Verdicts, database: Database, request: Request) -> records.Generation:
    """As whoever waits for it records it."""
    async with database.statement() as connection:
        generation = await records.get(connection, request.user_id, request.generation_id)
    assert generation is not None
    async with verdicts.listening(request.generation_id) as heard:
        heard.set_result(outcome_of(request, Verdict.COMPLETED))
        return await verdicts.wait(Caller(request.user_id), generation, heard)


async def test_what_a_waiter_recorded_is_handed_over_once(
    verdicts: Verdicts, database: Database, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.waiting.AFTER_YOU_SECONDS", 10)
    request, outcome = requests[0], outcome_of(requests[0], Verdict.COMPLETED)
    async with verdicts.listening(request.generation_id):
        handed = asyncio.create_task(verdicts.applied([outcome]))
        await asyncio.sleep(0.1)
        assert not handed.done(), "somebody waits for it, and is let go first"
        final = await recorded(verdicts, database, request)
        [ended] = await handed
    assert (ended.id, ended.user_id, ended.status) == (request.generation_id, request.user_id, "completed")
    assert ended.generation == final
    assert await verdicts.applied([outcome]) == []


async def test_who_waits_and_records_nothing_holds_nobody_up(verdicts: Verdicts, requests: list[Request]) -> None:
    async with verdicts.listening(requests[0].generation_id):
        began = time.monotonic()
        assert await verdicts.applied([outcome_of(requests[0], Verdict.COMPLETED)]) == []
        assert time.monotonic() - began < 1
    assert await verdicts.applied([outcome_of(requests[0], Verdict.COMPLETED)]) == []


async def test_what_another_replica_tells_is_not_kept_for_ever(
    verdicts: Verdicts, database: Database, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.waiting.MOST_APPLIED", 1)
    for request in requests:
        await recorded(verdicts, database, request)
    outcomes = [outcome_of(request, Verdict.COMPLETED) for request in requests]
    assert [ended.id for ended in await verdicts.applied(outcomes)] == [requests[1].generation_id]
