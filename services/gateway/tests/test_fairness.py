"""A user has so many generations at work in a lane; the rest wait as rows, in order (design.md §2.7, P19, P20)."""

import asyncio
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import pytest

from contracts.facts import Request, Verdict
from gateway.settings import LimitSettings, Settings

from .client import Client, until
from .conftest import MakeClient, with_limits
from .players import Players

pytestmark = pytest.mark.connected

SLOTS = 3
BATCH_SLOTS = 1
MAX_WAITING = 60


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    """No sweeper: whatever is admitted here, an outcome admitted it."""
    never = settings.sweeper.model_copy(update={"every_seconds": 3600})
    limits = {"interactive_slots": SLOTS, "batch_slots": BATCH_SLOTS, "max_waiting": MAX_WAITING}
    return with_limits(replace(settings, sweeper=never), **limits)


async def counters(client: Client, postgres: asyncpg.Pool) -> dict[str, tuple[int, int]]:
    rows = await postgres.fetch("SELECT lane, taken, waiting FROM slots WHERE user_id = $1", client.user_id)
    return {row["lane"]: (row["taken"], row["waiting"]) for row in rows}


async def heard(players: Players, client: Client, count: int) -> list[str]:
    """The sorted ids of a user's published generations, once there are so many: they are published beside each other,
    and come in any order."""

    async def enough() -> bool:
        return len(players.of(client.user_id)) >= count

    await until(enough)
    await asyncio.sleep(0.05)  # one more would come now
    return sorted(str(request.generation_id) for request in players.of(client.user_id))


def test_the_limits_that_a_user_meets_by_default() -> None:
    limits = LimitSettings()
    assert (limits.interactive_slots, limits.batch_slots, limits.max_waiting) == (32, 8, 1000)


async def test_what_finds_no_slot_waits_unpublished_and_every_outcome_admits_the_oldest(
    client: Client, players: Players, postgres: asyncpg.Pool
) -> None:
    players.scripts[client.user_id] = players.hold
    made = [(await client.accepted(prompt=str(number)))["id"] for number in range(7)]
    assert await heard(players, client, SLOTS) == sorted(made[:SLOTS])
    assert await counters(client, postgres) == {"interactive": (SLOTS, 4)}
    for number in range(4):
        await players.end(players.of(client.user_id)[number], Verdict.FAILED)
        assert await heard(players, client, SLOTS + number + 1) == sorted(made[: SLOTS + number + 1])
    for request in players.of(client.user_id)[4:]:
        await players.complete(request)
    for generation_id in made:
        await client.ended(generation_id)
    assert await counters(client, postgres) == {"interactive": (0, 0)}
    assert len(await players.published(client.user_id, 7)) == 7


async def test_nobody_overtakes_those_that_wait(client: Client, players: Players, postgres: asyncpg.Pool) -> None:
    """Even where a slot is free at the moment, because the next in turn is not let in yet."""
    players.scripts[client.user_id] = players.hold
    made = [(await client.accepted())["id"] for _ in range(SLOTS + 1)]
    await postgres.execute("UPDATE slots SET taken = taken - 1 WHERE user_id = $1", client.user_id)
    last = (await client.accepted())["id"]
    assert await heard(players, client, SLOTS) == sorted(made[:SLOTS])
    await players.end((await players.published(client.user_id))[0], Verdict.FAILED)
    assert await heard(players, client, SLOTS + 1) == sorted(made)
    await players.end((await players.published(client.user_id, 2))[1], Verdict.FAILED)
    assert await heard(players, client, SLOTS + 2) == sorted([*made, last])


async def test_fifty_at_once_never_exceed_the_slots(client: Client, players: Players, postgres: asyncpg.Pool) -> None:
    at_work: set[UUID] = set()
    most = 0

    async def work(request: Request) -> None:
        nonlocal most
        at_work.add(request.generation_id)
        most = max(most, len(at_work))
        await asyncio.sleep(0.01)
        at_work.discard(request.generation_id)
        await players.end(request, Verdict.COMPLETED)

    players.scripts[client.user_id] = players.hold
    made = [answer["id"] for answer in await asyncio.gather(*(client.accepted() for _ in range(50)))]
    assert len(await heard(players, client, SLOTS)) == SLOTS
    published = await postgres.fetchval(
        "SELECT count(*) FROM generations WHERE user_id = $1 AND published", client.user_id
    )
    assert published == SLOTS
    assert await counters(client, postgres) == {"interactive": (SLOTS, 50 - SLOTS)}
    players.scripts[client.user_id] = work
    for request in players.of(client.user_id)[:SLOTS]:
        at_work.add(request.generation_id)
    await asyncio.gather(*(work(request) for request in players.of(client.user_id)[:SLOTS]))
    for generation_id in made:
        assert (await client.ended(generation_id, 20))["status"] == "completed"
    assert most == SLOTS
    assert len(await players.published(client.user_id, 50)) == 50
    created = {row["id"]: row["created_at"] for row in await postgres.fetch("SELECT id, created_at FROM generations")}
    admitted = [created[request.generation_id] for request in players.of(client.user_id)[SLOTS:]]
    assert all(later > admitted[max(0, place - SLOTS)] for place, later in enumerate(admitted) if place >= SLOTS)
    assert await counters(client, postgres) == {"interactive": (0, 0)}


async def test_another_user_is_not_delayed(client_of: MakeClient, players: Players) -> None:
    """P19"""
    flood, other = client_of(), client_of()
    players.scripts[flood.user_id] = players.hold
    await asyncio.gather(*(flood.accepted() for _ in range(SLOTS + 20)))
    async with asyncio.timeout(3):
        for _ in range(5):
            assert (await other.ended((await other.accepted())["id"]))["status"] == "completed"


async def test_the_batch_lane_has_slots_of_its_own(client: Client, players: Players, postgres: asyncpg.Pool) -> None:
    players.scripts[client.user_id] = players.hold
    batch = [(await client.accepted(lane="batch"))["id"] for _ in range(3)]
    interactive = [(await client.accepted())["id"] for _ in range(SLOTS + 1)]
    assert await heard(players, client, BATCH_SLOTS + SLOTS) == sorted([batch[0], *interactive[:SLOTS]])
    assert await counters(client, postgres) == {"batch": (1, 2), "interactive": (SLOTS, 1)}
    await players.end(await players.heard(batch[0]), Verdict.FAILED)
    assert await heard(players, client, BATCH_SLOTS + SLOTS + 1) == sorted([*batch[:2], *interactive[:SLOTS]])


async def test_a_full_queue_is_429_with_the_seconds_to_wait_and_records_nothing(
    client: Client, players: Players, postgres: asyncpg.Pool
) -> None:
    """P20"""
    players.scripts[client.user_id] = players.hold
    made = await asyncio.gather(*(client.accepted() for _ in range(SLOTS + MAX_WAITING)))
    answer = await client.create()
    assert (answer.status, answer.json["code"]) == (429, "too_many_requests")
    assert int(answer.headers["Retry-After"]) > 0
    rows = await postgres.fetchval("SELECT count(*) FROM generations WHERE user_id = $1", client.user_id)
    assert rows == SLOTS + MAX_WAITING
    assert await counters(client, postgres) == {"interactive": (SLOTS, MAX_WAITING)}
    assert (await client.create(lane="batch")).status == 202
    await client.cancel(made[0]["id"])

    async def room() -> bool:
        return (await counters(client, postgres))["interactive"] == (SLOTS, MAX_WAITING - 1)

    await until(room)
    assert (await client.create()).status == 202


async def test_the_deadline_of_what_waits_starts_when_it_is_admitted(
    client: Client, players: Players, postgres: asyncpg.Pool
) -> None:
    players.scripts[client.user_id] = players.hold
    made = [await client.accepted() for _ in range(SLOTS + 1)]
    await asyncio.sleep(0.5)
    await players.end(await players.heard(made[0]["id"]), Verdict.FAILED)
    admitted = await players.heard(made[-1]["id"])
    created_at = datetime.fromisoformat(made[-1]["created_at"])
    allowed, passed = admitted.deadline_at - created_at, datetime.now(UTC) - created_at
    assert 60.5 <= allowed.total_seconds() <= 60 + passed.total_seconds()


async def test_held_open_requests_admit_each_other(client: Client, players: Players) -> None:
    """Whoever waits for an outcome may record it first; the slot is passed on all the same."""
    async with asyncio.timeout(4):
        answers = await asyncio.gather(
            *(client.post("/api/images/generate", json={"prompt": str(number)}) for number in range(15))
        )
    assert {answer.status for answer in answers} == {200}


async def test_a_cancelled_one_passes_its_slot_on(client: Client, players: Players) -> None:
    players.scripts[client.user_id] = players.hold
    made = [(await client.accepted())["id"] for _ in range(SLOTS + 2)]
    assert (await client.cancel(made[0])).status == 200
    assert await heard(players, client, SLOTS + 1) == sorted(made[: SLOTS + 1])


async def test_one_that_waits_can_be_cancelled_and_is_never_published(
    client: Client, players: Players, postgres: asyncpg.Pool
) -> None:
    players.scripts[client.user_id] = players.hold
    made = [(await client.accepted())["id"] for _ in range(SLOTS + 2)]
    answer = await client.cancel(made[SLOTS])
    assert (answer.status, answer.json["status"]) == (200, "cancelled")
    assert await counters(client, postgres) == {"interactive": (SLOTS, 1)}
    await players.end(await players.heard(made[0]), Verdict.FAILED)
    assert await heard(players, client, SLOTS + 1) == sorted([*made[:SLOTS], made[-1]])


async def test_cancels_and_admissions_do_not_block_each_other(
    client: Client, players: Players, postgres: asyncpg.Pool
) -> None:
    """They lock the same rows and the same slot, from both ends."""
    ended: dict[str, int] = defaultdict(int)
    for _ in range(3):
        players.scripts[client.user_id] = players.hold
        made = [answer["id"] for answer in await asyncio.gather(*(client.accepted() for _ in range(30)))]
        players.scripts[client.user_id] = players.complete
        running = [request for request in players.of(client.user_id) if str(request.generation_id) in made]
        answers, _ = await asyncio.gather(
            asyncio.gather(*(client.cancel(generation_id) for generation_id in made[::-1])),
            asyncio.gather(*(players.complete(request) for request in running)),
        )
        assert {answer.status for answer in answers} <= {200, 409}
        for generation_id in made:
            ended[(await client.ended(generation_id))["status"]] += 1
        assert await counters(client, postgres) == {"interactive": (0, 0)}
    assert ended["cancelled"] + ended["completed"] == 90
