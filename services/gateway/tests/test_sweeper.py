"""Whatever was lost on the way, an accepted generation is driven until it ends (design.md §2.6, §3.1)."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from nats.aio.client import Client as NatsClient
from nats.errors import Error as NatsError

from contracts.facts import Failure, Lane, Outcome, Verdict
from contracts.topology import outcome_subject
from darkroom.embedded import NatsServer
from gateway import records
from gateway.commands import Commands
from gateway.inputs import Inputs
from gateway.offers import Offers
from gateway.records import Generation
from gateway.settings import FundingSettings, Settings
from gateway.sweeper import Sweeper, next_step
from gateway.turns import Due
from runtime.broker import connected, make_broker
from runtime.database import Database
from runtime.settings import BrokerSettings

from .conftest import MANY
from .kit import Kit
from .outcomes import outcome_of
from .players import Players

pytestmark = pytest.mark.connected

FIRST = 30.0
LONGEST = 900.0
DRIVES = 3


MakeKit = Callable[..., Any]


@pytest.fixture(scope="module")
async def make_kit(settings: Settings, postgres: asyncpg.Pool) -> AsyncIterator[MakeKit]:
    opened: list[Any] = []

    async def make(nats_url: str | None = None, **limits: Any) -> Kit:
        database = Database(settings.database, "gateway")
        broker = make_broker(BrokerSettings(nats_url=nats_url) if nats_url else settings.broker, "gateway")
        await broker.start()
        offers = Offers(database, broker)
        await offers.start()
        opened.extend([offers.stop, broker.stop, broker.connection.close, database.close])
        own = {"first_drive_seconds": FIRST, "longest_pause_seconds": LONGEST, "drives_before_deadline": DRIVES}
        sweeps = settings.sweeper.model_copy(update={**own, "lag_limit": MANY, **limits})
        slots = settings.limits.model_copy(update={"interactive_slots": 100, "batch_slots": 1})
        inputs = Inputs(broker, settings.addresses, settings.outbound)
        commands = Commands(database, broker, offers, inputs, slots, sweeps, FundingSettings())
        while offers.problems():
            await asyncio.sleep(0.01)
        sweeper = Sweeper(database, broker, commands, sweeps)
        return Kit(database, commands, sweeper, postgres, partial(connected, broker), uuid4())

    yield make
    for close in opened:
        # A bus that a test took away cannot be drained; its client is closed, or it would reconnect for ever.
        with contextlib.suppress(NatsError):
            await close()


@pytest.fixture(scope="module")
async def shared_kit(make_kit: MakeKit, players: Players) -> Kit:
    kit = await make_kit()
    assert isinstance(kit, Kit)
    return kit


@pytest.fixture
async def kit(shared_kit: Kit, players: Players) -> Kit:
    """Alone with its rows."""
    await shared_kit.postgres.execute("TRUNCATE generations, slots")
    shared_kit.user = uuid4()
    players.scripts[shared_kit.user] = players.hold
    return shared_kit


async def in_the_log(bus: NatsClient, generation: Generation) -> Outcome:
    message = await bus.jetstream().get_last_msg("OUTCOMES", outcome_subject(generation.id), direct=True)
    assert message.data
    return Outcome.decode(message.data)


# -- the decision -------------------------------------------------------------------------------------------------


def due_of(cancel_asked: bool, drives: int, past_deadline: bool) -> Due:
    asked = {"cancel_asked_at": object() if cancel_asked else None}
    generation = type("Row", (), asked)()
    return Due(generation, drives, past_deadline)


@pytest.mark.parametrize(
    ("cancel_asked", "past_deadline", "drives"), list(itertools.product([False, True], [False, True], range(8)))
)
def test_every_row_of_the_table_of_steps(cancel_asked: bool, past_deadline: bool, drives: int) -> None:
    expected = "cancel" if cancel_asked else "fail" if past_deadline and drives >= 5 else "drive"
    assert next_step(due_of(cancel_asked, drives, past_deadline), 5) == expected


# -- when ---------------------------------------------------------------------------------------------------------


async def test_what_moves_by_itself_is_left_alone(kit: Kit, players: Players) -> None:
    await kit.create(3)
    assert [FIRST - 2 < seconds <= FIRST for seconds in await kit.seconds_to_next()] == [True] * 3
    assert await kit.sweeper.sweep() == 0
    assert len(await players.published(kit.user, 3)) == 3


async def test_what_does_not_move_is_driven_with_the_same_words(kit: Kit, players: Players) -> None:
    [made] = await kit.create()
    await kit.due()
    assert await kit.sweeper.sweep() == 1
    await players.heard(made.id, times=2)
    first, again = [fact for fact in players.requested if fact.subject == str(made.id)]
    assert (first.id, first.data, first.traceparent) == (again.id, again.data, again.traceparent)
    assert await kit.sweeper.sweep() == 0


async def test_pauses_double_with_jitter_up_to_the_longest(kit: Kit) -> None:
    await kit.create(20)
    for drives in range(9):
        await kit.due()
        assert await kit.sweeper.sweep() == 20
        pause = min(LONGEST, FIRST * 2 ** (drives + 1))
        seconds = await kit.seconds_to_next()
        assert all(0.7 * pause < each < 1.26 * pause for each in seconds), drives
        assert max(seconds) - min(seconds) > 0.1 * pause


async def test_a_funded_one_has_its_models_time(kit: Kit) -> None:
    """First after 30 s, or the model's p99 once funded; 30 s again once rendered."""
    [made] = await kit.create()
    await kit.set("p99_seconds = 200")
    async with kit.database.statement() as connection:
        await records.follow(connection, [(made.id, False)], FIRST)
        assert 195 < (await kit.seconds_to_next())[0] < 201
        await kit.due()
        await records.follow(connection, [(made.id, True)], FIRST)
        assert 25 < (await kit.seconds_to_next())[0] < 31


async def test_a_sweep_takes_so_many_rows_and_the_longest_due_first(make_kit: MakeKit, kit: Kit) -> None:
    small = await make_kit(rows=5)
    made = await kit.create(12)
    for place, generation in enumerate(made):
        await kit.set(f"next_drive_at = now() - interval '{100 - place} seconds'", generation)
    for expected in (5, 10, 12, 12):
        await small.sweeper.sweep()
        drives = [await kit.value("drives", generation) for generation in made]
        assert drives == [1] * expected + [0] * (12 - expected)


async def test_nothing_is_driven_while_the_consumers_are_behind(make_kit: MakeKit, kit: Kit) -> None:
    """Nobody consumes GENERATION here, so that every request adds to the lag."""
    patient = await make_kit(lag_limit=1)
    made = await kit.create(3)
    await kit.due()
    assert await patient.sweeper.sweep() == 0
    assert await kit.value("drives", made[0]) == 0
    assert (await kit.seconds_to_next())[0] < 0, "its turn was used up"
    assert await kit.sweeper.sweep() == 3


async def test_what_is_to_end_ends_although_the_consumers_are_behind(make_kit: MakeKit, kit: Kit) -> None:
    """Otherwise one consumer that stands still would take every generation past its deadline."""
    patient = await make_kit(lag_limit=1)
    late, tried_too_little, unwanted = await kit.create(3)
    await kit.set(f"deadline_at = now(), drives = {DRIVES}", late)
    await kit.set(f"deadline_at = now(), drives = {DRIVES - 1}", tried_too_little)
    async with kit.database.statement() as connection:
        await records.ask_cancel(connection, kit.user, unwanted.id)
    await kit.due()
    assert await patient.sweeper.sweep() == 2
    statuses = [await kit.value("status", generation) for generation in (late, tried_too_little, unwanted)]
    assert statuses == ["failed", "pending", "cancelled"]


async def test_two_sweepers_share_the_rows(make_kit: MakeKit, kit: Kit, players: Players) -> None:
    other = await make_kit()
    made = await kit.create(60)
    for turn in range(3):
        await kit.due()
        driven = await asyncio.gather(kit.sweeper.sweep(), other.sweeper.sweep())
        assert sum(driven) == 60
        assert {row[0] for row in await kit.postgres.fetch("SELECT drives FROM generations")} == {turn + 1}
    for generation in made:
        await players.heard(generation.id, times=4)
    assert len(players.of(kit.user)) == 60 * 4


# -- how it ends --------------------------------------------------------------------------------------------------


async def test_past_its_deadline_and_driven_enough_it_fails(kit: Kit, bus: NatsClient) -> None:
    """Promise 1: an outcome by the deadline, whatever happened; but the way there was tried so often."""
    [made] = await kit.create()
    await kit.set("deadline_at = now() - interval '1 hour'")
    for drives in range(DRIVES):
        await kit.due()
        await kit.sweeper.sweep()
        assert (await kit.value("drives", made), await kit.value("status", made)) == (drives + 1, "pending")
        assert 0.7 * FIRST < (await kit.seconds_to_next())[0] < 1.26 * FIRST
    await kit.due()
    await kit.sweeper.sweep()
    outcome = await in_the_log(bus, made)
    assert outcome.data.verdict is Verdict.FAILED
    assert outcome.data.failure
    assert (outcome.source, outcome.data.failure.code) == ("gateway", "deadline")
    assert await kit.value("status", made) == "failed"


async def test_before_its_deadline_it_never_fails(kit: Kit) -> None:
    [made] = await kit.create()
    await kit.set("drives = 50")
    await kit.due()
    await kit.sweeper.sweep()
    assert (await kit.value("status", made), await kit.value("drives", made)) == ("pending", 51)


async def test_a_cancel_asked_while_the_bus_was_away_is_carried_out_at_the_next_sweep(
    kit: Kit, bus: NatsClient
) -> None:
    running, driven_often = await kit.create(2)
    [first, waiting] = await kit.create(2, Lane.BATCH)
    await kit.set("next_drive_at = now() + interval '15 minutes', drives = 9", driven_often)
    async with kit.database.statement() as connection:
        for generation in (running, driven_often, waiting):
            assert await records.ask_cancel(connection, kit.user, generation.id)
        await records.follow(connection, [(running.id, False), (driven_often.id, True)], FIRST)
    assert await kit.sweeper.sweep() == 3
    for generation in (running, driven_often, waiting):
        assert (await in_the_log(bus, generation)).data.verdict is Verdict.CANCELLED
        assert await kit.value("status", generation) == "cancelled"
    assert await kit.value("status", first) == "pending"
    slots = await kit.postgres.fetch("SELECT taken, waiting FROM slots ORDER BY lane")
    assert [tuple(slot) for slot in slots] == [(1, 0), (0, 0)]


async def test_many_are_asked_about_at_once(kit: Kit, players: Players, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the ledger was silent, a hundred one after the other held up all drives for half a minute."""
    monkeypatch.setattr("gateway.funds.ANSWER_TIMEOUT_SECONDS", 0.5)
    players.silent.update(users := [uuid4() for _ in range(8)])
    await kit.postgres.execute("INSERT INTO slots SELECT unnest($1::uuid[]), 'batch', 0, 1", users)
    await asyncio.wait_for(kit.sweeper.sweep(), 2.5)


async def test_what_is_to_be_cancelled_is_not_admitted(kit: Kit, players: Players) -> None:
    """It would be paid for and thrown away."""
    running, wanted, unwanted = await kit.create(3, Lane.BATCH)
    async with kit.database.statement() as connection:
        await records.ask_cancel(connection, kit.user, unwanted.id)
        await records.finish(connection, [outcome_of(running.request(), Verdict.FAILED)])
    await kit.commands.admit(kit.user, Lane.BATCH)
    assert await kit.value("published", wanted)
    assert not await kit.value("published", unwanted)


async def test_the_outcome_of_a_log_that_our_consumer_never_gave_us_is_taken(
    kit: Kit, players: Players, bus: NatsClient
) -> None:
    """Consumer state can be lost with the floor ahead (nats-server issue 5412): then nobody tells us again."""
    [made, cancelled] = await kit.create(2)
    for generation in (made, cancelled):
        assert await players.end(generation.request(), Verdict.COMPLETED)
    async with kit.database.statement() as connection:
        await records.ask_cancel(connection, kit.user, cancelled.id)
    await kit.set(f"deadline_at = now(), drives = {DRIVES}", made)
    await kit.due()
    await kit.sweeper.sweep()
    assert await kit.value("status", made) == "completed"
    assert await kit.value("status", cancelled) == "completed"
    notice = await bus.jetstream().get_last_msg("NOTIFICATIONS", f"notification.{kit.user}.completed", direct=True)
    assert notice.data


async def test_what_is_driven_again_is_asked_of_the_log_first(kit: Kit, players: Players, bus: NatsClient) -> None:
    """Should the gateway alone have missed its outcome, whoever says it again is refused, and nobody hears it."""
    ended, open_one, unreadable = made = await kit.create(3)
    assert await players.end(ended.request(), Verdict.COMPLETED)
    await bus.jetstream().publish(outcome_subject(unreadable.id), b"{}")
    for times in (2, 3):
        await kit.due()
        assert await kit.sweeper.sweep() == 3
        for generation in made if times == 2 else (open_one, unreadable):
            await players.heard(generation.id, times=times)
    assert [await kit.value("status", generation) for generation in made] == ["completed", "pending", "pending"]
    assert len([fact for fact in players.requested if fact.subject == str(ended.id)]) == 2
    notice = await bus.jetstream().get_last_msg("NOTIFICATIONS", f"notification.{kit.user}.completed", direct=True)
    assert notice.data


async def test_a_row_that_cannot_be_driven_ends_by_its_deadline_and_harms_no_neighbour(kit: Kit) -> None:
    spoilt, *others = await kit.create(4)
    await kit.set("options = '[1]'", spoilt)
    await kit.set("deadline_at = now()", spoilt)
    for turn in range(DRIVES + 1):
        await kit.due()
        await kit.sweeper.sweep()
        assert [await kit.value("drives", other) for other in others] == [turn + 1] * 3
    assert await kit.value("status", spoilt) == "failed"


# -- slots --------------------------------------------------------------------------------------------------------


async def test_what_waits_for_a_slot_is_not_driven(kit: Kit, players: Players) -> None:
    await kit.create(3, Lane.BATCH)
    await kit.due()
    assert await kit.sweeper.sweep() == 1
    assert len({request.generation_id for request in await players.published(kit.user)}) == 1


async def test_an_admission_does_not_wait_for_one_that_is_about_to_end(kit: Kit) -> None:
    """Whoever ends it holds its row and wants the slot next, which the admission holds: neither would go on."""
    running, ending, wanted = await kit.create(3, Lane.BATCH)
    async with kit.database.statement() as connection:
        await records.finish(connection, [outcome_of(running.request(), Verdict.FAILED)])
    async with kit.postgres.acquire() as connection, connection.transaction():
        await connection.execute("SELECT 1 FROM generations WHERE id = $1 FOR UPDATE", ending.id)
        async with asyncio.timeout(1):
            await kit.commands.admit(kit.user, Lane.BATCH)
    assert not await kit.value("published", ending)
    assert await kit.value("published", wanted)


@pytest.mark.parametrize(
    "wrong",
    ["taken = 99, waiting = 0", "taken = 99, waiting = 99", "taken = 0, waiting = 0", "taken = 0, waiting = 99"],
)
async def test_wrong_counters_heal(kit: Kit, players: Players, wrong: str) -> None:
    running, *waiting = await kit.create(3, Lane.BATCH)
    await kit.postgres.execute(f"UPDATE slots SET {wrong}")
    await kit.sweeper.sweep()
    assert tuple(await kit.postgres.fetchrow("SELECT taken, waiting FROM slots")) == (1, 2)
    async with kit.database.statement() as connection:
        await records.finish(
            connection, [outcome_of(running.request(), Verdict.FAILED, Failure(code="x", message="y"))]
        )
    await kit.sweeper.sweep()
    await players.heard(waiting[0].id)
    assert tuple(await kit.postgres.fetchrow("SELECT taken, waiting FROM slots")) == (1, 1)


async def test_no_slot_is_always_beyond_the_limit_of_a_sweep(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.sweeper.SLOTS_PER_SWEEP", 2)
    for _ in range(8):
        kit.user = uuid4()
        await kit.create(2, Lane.BATCH)
    await kit.postgres.execute("UPDATE slots SET taken = 50")

    async def healed() -> int:
        found = await kit.postgres.fetchval("SELECT count(*) FROM slots WHERE taken = 1")
        assert isinstance(found, int)
        return found

    for _ in range(80):
        await kit.sweeper.sweep()
        if await healed() == 8:
            break
    assert await healed() == 8


# -- the bus ------------------------------------------------------------------------------------------------------


async def test_drives_count_only_when_the_bus_took_them(
    make_kit: MakeKit, kit: Kit, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A bus without streams: connected, and it stores nothing."""
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    server.start()
    deaf = await make_kit(server.nats_url)
    deaf.user = kit.user
    [made] = await deaf.create()
    await kit.set("deadline_at = now() - interval '1 hour'")
    for _ in range(DRIVES + 2):
        await kit.due()
        assert await deaf.sweeper.sweep() == 0
    assert (await kit.value("drives", made), await kit.value("status", made)) == (0, "pending")
    server.stop()
    while deaf.connected():
        await asyncio.sleep(0.01)
    await kit.due()
    assert await deaf.sweeper.sweep() == 0
    assert (await kit.seconds_to_next())[0] < 0, "its turn was used up"
    assert await kit.sweeper.sweep() == 1
