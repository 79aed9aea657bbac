"""One outcome for each generation, whatever arrives in whatever order (design.md §3.3–3.5, 3.9, P16)."""

import asyncio
import json
import random
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from nats.aio.client import Client as NatsClient

from contracts.facts import Failure, Notified, Outcome, Request, Verdict
from contracts.questions import (
    GATEWAY_OUTCOMES,
    Recorded,
    RecordedOutcomes,
)
from contracts.topology import GATEWAY_RECORD_OUTCOMES, outcome_subject
from darkroom.jetstream import ask
from darkroom.topology.apply import apply
from gateway import records
from gateway.settings import Settings
from runtime.database import Database

from .client import Client, until
from .conftest import MakeClient
from .outcomes import outcome_of
from .players import Players

pytestmark = pytest.mark.connected

ORDER = {"pending": 0, "processing": 1, "completed": 2, "failed": 2, "declined": 2, "cancelled": 2}


@pytest.fixture
async def open_one(client: Client, players: Players) -> Request:
    """A request of which nobody said anything yet."""
    players.scripts[client.user_id] = players.hold
    return await players.heard((await client.accepted())["id"])


async def notices(bus: NatsClient, client: Client) -> list[Notified]:
    """What the stream of notifications keeps for a user."""
    info = await ask(bus, "STREAM.INFO.NOTIFICATIONS", {"subjects_filter": f"notification.{client.user_id}.*"})
    found = []
    for subject, count in (info["state"].get("subjects") or {}).items():
        message = await bus.jetstream().get_last_msg("NOTIFICATIONS", subject, direct=True)
        assert message.data
        found += [Notified.decode(message.data)] * count
    return found


async def told(bus: NatsClient, client: Client) -> list[Notified]:
    """The same, once there is one."""

    async def some() -> list[Notified]:
        return await notices(bus, client)

    found = await until(some)
    assert isinstance(found, list)
    return found


async def row_of(postgres: asyncpg.Pool, generation_id: UUID) -> Any:
    return await postgres.fetchrow("SELECT * FROM generations WHERE id = $1", generation_id)


async def test_outcomes_free_slots_in_one_order(
    client_of: MakeClient, players: Players, postgres: asyncpg.Pool, settings: Settings
) -> None:
    """User after user and lane after lane: whoever waits for one, which a batch has, has none that it wants next."""
    clients = sorted((client_of() for _ in range(6)), key=lambda one: one.user_id)
    players.scripts |= {each.user_id: players.hold for each in clients}
    made = [await each.accepted(lane=lane) for each in clients for lane in ("batch", "interactive")]
    first, *later = requests = [await players.heard(each["id"]) for each in made]
    database = Database(settings.database, "gateway")
    take = "SELECT FROM slots WHERE user_id = $1 AND lane = $2 FOR UPDATE"
    try:
        async with postgres.acquire() as connection:
            async with connection.transaction():
                await connection.execute(take, first.user_id, first.lane)
                finishing = asyncio.create_task(_finished(database, requests))
                await asyncio.wait([finishing], timeout=0.5)
                async with postgres.acquire() as other:
                    for request in later:
                        await other.execute(f"{take} NOWAIT", request.user_id, request.lane)
            await finishing
    finally:
        await database.close()


async def _finished(database: Database, requests: list[Request]) -> None:
    async with database.statement() as connection:
        await records.finish(connection, [outcome_of(request, Verdict.FAILED) for request in requests])


@pytest.mark.parametrize("order", sorted(set(permutations(["fund", "render", "end"]))), ids="-".join)
async def test_facts_in_every_order_end_in_the_outcome(
    client: Client, players: Players, postgres: asyncpg.Pool, open_one: Request, order: tuple[str, ...]
) -> None:
    """Streams are not ordered against each other."""
    play = {
        "fund": lambda: players.fund(open_one),
        "render": lambda: players.render(open_one),
        "end": lambda: players.end(open_one, Verdict.COMPLETED),
    }
    for step in (*order, "fund", "render"):
        await play[step]()
        await asyncio.sleep(0.02)
    ended = await client.ended(str(open_one.generation_id))
    assert (ended["status"], ended["cost"]) == ("completed", 1)
    await asyncio.sleep(0.05)
    assert await client.show(str(open_one.generation_id)) == ended


async def test_no_order_of_updates_moves_a_row_backwards(settings: Settings, client: Client, players: Players) -> None:
    """P16, at the statements themselves: every shuffle of facts, repeated, reordered and contradicting."""
    players.scripts[client.user_id] = players.hold
    database = Database(settings.database, "test")
    for seed in range(40):
        rng = random.Random(seed)
        request = await players.heard((await client.accepted(lane="batch"))["id"])
        verdicts = rng.sample(list(Verdict), 2)
        steps: list[Any] = [*verdicts, verdicts[0], "fund", "render", "fund"]
        rng.shuffle(steps)
        statuses = ["pending"]
        async with database.statement() as connection:
            for step in steps:
                if isinstance(step, Verdict):
                    await records.finish(connection, [outcome_of(request, step)])
                else:
                    await records.follow(connection, [(request.generation_id, step == "render")], 30)
                row = await records.get(connection, client.user_id, request.generation_id)
                assert row
                statuses.append(row.status)
        assert [ORDER[status] for status in statuses] == sorted(ORDER[status] for status in statuses), seed
        first = next(step for step in steps if isinstance(step, Verdict))
        assert set(statuses) - {"pending", "processing"} == {first}, seed
    await database.close()


async def test_of_two_outcomes_in_one_batch_the_first_is_kept(
    settings: Settings, postgres: asyncpg.Pool, client: Client, open_one: Request
) -> None:
    first, second = outcome_of(open_one, Verdict.FAILED, Failure(code="x", message="y")), None
    second = outcome_of(open_one, Verdict.COMPLETED)
    database = Database(settings.database, "test")
    async with database.transaction() as connection:
        await records.finish(connection, [first, second, first])
    await database.close()
    row = await row_of(postgres, open_one.generation_id)
    assert (row["status"], json.loads(row["outcome"])) == ("failed", json.loads(first.encode()))
    assert await postgres.fetchval("SELECT taken FROM slots WHERE user_id = $1", client.user_id) == 0


@pytest.mark.parametrize("turn", [1, -1], ids=["as they came", "the other way round"])
async def test_two_who_record_lock_what_they_share_in_one_order(
    settings: Settings, postgres: asyncpg.Pool, client: Client, players: Players, turn: int
) -> None:
    """Each would wait for the other for ever: whoever waits for the first row holds no later one."""
    players.scripts[client.user_id] = players.hold
    requests = [await players.heard((await client.accepted())["id"]) for _ in range(2)]
    first, last = ordered = sorted(requests, key=lambda request: request.generation_id)
    lock = "SELECT 1 FROM generations WHERE id = $1 FOR UPDATE NOWAIT"
    database = Database(settings.database, "test")

    async def record() -> None:
        async with database.transaction() as connection:
            await records.finish(connection, [outcome_of(each, Verdict.FAILED) for each in ordered[::turn]])

    async with postgres.acquire() as other, other.transaction():
        await other.execute(lock, first.generation_id)
        recording = asyncio.create_task(record())
        await asyncio.sleep(0.3)
        assert not recording.done()
        await other.execute(lock, last.generation_id)
    await recording
    await database.close()


async def test_the_outcome_is_kept_verbatim(
    client: Client, players: Players, postgres: asyncpg.Pool, bus: NatsClient, open_one: Request
) -> None:
    """Ledger and auditor settle by it."""
    await players.complete(open_one)
    await client.ended(str(open_one.generation_id))
    message = await bus.jetstream().get_last_msg("OUTCOMES", outcome_subject(open_one.generation_id), direct=True)
    assert message.data
    row = await row_of(postgres, open_one.generation_id)
    assert json.loads(row["outcome"]) == json.loads(message.data)


async def test_everything_delivered_again_changes_nothing_and_tells_nobody_twice_at_once(
    client: Client, players: Players, postgres: asyncpg.Pool, bus: NatsClient
) -> None:
    """Its consumer made anew: the gateway hears every outcome once more. For two minutes the log itself knows what it
    has been told."""
    made = [(await client.accepted())["id"] for _ in range(5)]
    for generation_id in made:
        await client.ended(generation_id)
    await told(bus, client)
    before = await postgres.fetch("SELECT * FROM generations ORDER BY id")
    slots = await postgres.fetch("SELECT * FROM slots ORDER BY user_id, lane")
    durable = GATEWAY_RECORD_OUTCOMES.durable
    await ask(bus, f"CONSUMER.DELETE.OUTCOMES.{durable}")
    await apply(bus)

    async def all_delivered() -> bool:
        info = await ask(bus, f"CONSUMER.INFO.OUTCOMES.{durable}")
        return bool(info["num_pending"] == info["num_ack_pending"] == 0 and info["delivered"]["consumer_seq"] >= 5)

    await until(all_delivered, 20)
    assert await postgres.fetch("SELECT * FROM generations ORDER BY id") == before
    assert await postgres.fetch("SELECT * FROM slots ORDER BY user_id, lane") == slots
    found = await notices(bus, client)
    assert len(found) == 5


async def test_an_unknown_id_is_passed_over(
    client: Client, players: Players, bus: NatsClient, open_one: Request
) -> None:
    stranger = open_one.model_copy(update={"generation_id": uuid4()})
    dead = (await ask(bus, "STREAM.INFO.DEAD"))["state"]["messages"]
    await players.complete(stranger)
    await players.complete(open_one)
    assert (await client.ended(str(open_one.generation_id)))["status"] == "completed"
    assert (await client.get(f"/v1/generations/{stranger.generation_id}")).status == 404

    async def acknowledged() -> bool:
        info = await ask(bus, f"CONSUMER.INFO.OUTCOMES.{GATEWAY_RECORD_OUTCOMES.durable}")
        return bool(info["num_pending"] == info["num_ack_pending"] == 0)

    await until(acknowledged)
    assert (await ask(bus, "STREAM.INFO.DEAD"))["state"]["messages"] == dead


async def test_an_unreadable_outcome_harms_no_other(
    client: Client, players: Players, bus: NatsClient, open_one: Request
) -> None:
    """B47, F12"""
    dead = (await ask(bus, "STREAM.INFO.DEAD"))["state"]["messages"]
    for payload in (b"\xff garbage", b"{}", b'{"specversion":"2.0"}', b"[" * 5000):
        await bus.jetstream().publish(outcome_subject(uuid4()), payload)
    await players.complete(open_one)
    assert (await client.ended(str(open_one.generation_id)))["status"] == "completed"

    async def buried() -> bool:
        return bool((await ask(bus, "STREAM.INFO.DEAD"))["state"]["messages"] == dead + 4)

    await until(buried)


async def test_the_notification_says_what_ended_and_how(
    client: Client, players: Players, bus: NatsClient, open_one: Request
) -> None:
    await players.end(open_one, Verdict.DECLINED)
    [notice] = await told(bus, client)
    assert notice.data.generation_id == open_one.generation_id
    assert (notice.data.user_id, notice.data.status, notice.data.dialect) == (client.user_id, "declined", "native")


async def test_a_row_that_was_final_before_is_told_all_the_same(
    settings: Settings, client: Client, players: Players, bus: NatsClient, open_one: Request
) -> None:
    """Written by whoever waited for it: the consumer finds nothing to change, and still tells."""
    outcome = outcome_of(open_one, Verdict.FAILED, Failure(code="x", message="y"))
    database = Database(settings.database, "test")
    async with database.transaction() as connection:
        await records.finish(connection, [outcome])
    await database.close()
    assert await notices(bus, client) == []
    assert await players.say(outcome)
    [notice] = await told(bus, client)
    assert (notice.data.generation_id, notice.data.status) == (open_one.generation_id, "failed")


async def test_what_ended_long_ago_is_told_to_nobody_again(
    settings: Settings, client: Client, players: Players, postgres: asyncpg.Pool, bus: NatsClient, open_one: Request
) -> None:
    """Its consumer made anew hears of seven days."""
    outcome = outcome_of(open_one, Verdict.FAILED, Failure(code="x", message="y"))
    database = Database(settings.database, "test")
    async with database.transaction() as connection:
        await records.finish(connection, [outcome])
    long_ago = "UPDATE generations SET completed_at = now() - make_interval(secs => $2) WHERE id = $1"
    await postgres.execute(long_ago, open_one.generation_id, float(records.TOLD_SECONDS))
    await database.close()
    assert await players.say(outcome)

    async def acknowledged() -> bool:
        info = await ask(bus, f"CONSUMER.INFO.OUTCOMES.{GATEWAY_RECORD_OUTCOMES.durable}")
        return bool(info["num_pending"] == info["num_ack_pending"] == 0)

    await until(acknowledged)
    assert await notices(bus, client) == []


async def test_the_question_for_recorded_outcomes(
    client: Client, players: Players, bus: NatsClient, open_one: Request
) -> None:
    unfinished = str((await client.accepted())["id"])
    await players.complete(open_one)
    await client.ended(str(open_one.generation_id))
    ids = (open_one.generation_id, UUID(unfinished), *(uuid4() for _ in range(498)))
    question = RecordedOutcomes(generation_ids=ids).model_dump_json().encode()
    answer = await bus.request(GATEWAY_OUTCOMES, question, timeout=5)
    recorded = Recorded.model_validate_json(answer.data).outcomes
    assert tuple(item.generation_id for item in recorded) == ids
    assert [item.state for item in recorded] == ["recorded", "unfinished", *["unknown"] * 498]
    assert recorded[0].outcome
    message = await bus.jetstream().get_last_msg("OUTCOMES", outcome_subject(open_one.generation_id), direct=True)
    assert message.data
    assert recorded[0].outcome == Outcome.decode(message.data)
    assert all(item.outcome is None for item in recorded[1:])


async def test_a_question_that_cannot_be_read_spoils_no_other(bus: NatsClient) -> None:
    for payload in (b"garbage", b"{}", b'{"generation_ids": ["x"]}'):
        await bus.publish(GATEWAY_OUTCOMES, payload)
    answer = await bus.request(GATEWAY_OUTCOMES, b'{"generation_ids": []}', timeout=5)
    assert Recorded.model_validate_json(answer.data).outcomes == ()
