"""The same Idempotency-Key gives the same generation (P12, B13–B15); so does a connection that was lost."""

import asyncio
from uuid import UUID, uuid4

import asyncpg
import pytest

from .client import IMAGE, Answer, Client, until
from .conftest import MakeClient
from .players import Players

pytestmark = pytest.mark.connected


async def rows_of(client: Client, postgres: asyncpg.Pool) -> int:
    found = await postgres.fetchval("SELECT count(*) FROM generations WHERE user_id = $1", client.user_id)
    assert isinstance(found, int)
    return found


async def test_a_hundred_equal_requests_at_once_are_one_generation(
    client: Client, players: Players, postgres: asyncpg.Pool
) -> None:
    players.scripts[client.user_id] = players.hold
    answers = await asyncio.gather(*(client.create(key="one", count=2) for _ in range(100)))
    assert {answer.status for answer in answers} == {202}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert len({answer.headers["Location"] for answer in answers}) == 1
    assert await rows_of(client, postgres) == 1
    assert tuple(await postgres.fetchrow("SELECT taken, waiting FROM slots WHERE user_id = $1", client.user_id)) == (
        1,
        0,
    )
    await players.heard(answers[0].json["id"])
    assert len(await players.published(client.user_id)) == 1


async def test_a_repetition_shows_the_generation_as_it_is_now(client: Client) -> None:
    first = (await client.create(key="one")).json
    done = await client.ended(first["id"])
    again = await client.create(key="one")
    assert (again.status, again.json) == (202, done)


async def test_an_id_of_a_key_stays_the_same_for_ever(client: Client, postgres: asyncpg.Pool) -> None:
    """A UUIDv5 of user, route and key: no table of keys that could be pruned."""
    made = (await client.create(key="one")).json
    assert UUID(made["id"]).version == 5


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "another"},
        {"count": 2},
        {"size": "512x512"},
        {"options": {"seed": 1}},
        {"lane": "batch"},
        {"model": "old-image"},
    ],
    ids=lambda other: next(iter(other)),
)
async def test_another_body_under_the_same_key_is_refused(
    client: Client, postgres: asyncpg.Pool, other: dict[str, object]
) -> None:
    first = (await client.create(key="one")).json
    answer = await client.create(key="one", **other)
    assert (answer.status, answer.json["code"]) == (422, "idempotency_mismatch")
    assert await rows_of(client, postgres) == 1
    assert (await client.create(key="one")).json["id"] == first["id"]


async def test_of_two_bodies_at_once_under_one_key_one_wins(client: Client, postgres: asyncpg.Pool) -> None:
    answers = await asyncio.gather(*(client.create(key="one", count=1 + number % 2) for number in range(20)))
    accepted = {answer.json["count"] for answer in answers if answer.status == 202}
    assert {answer.status for answer in answers} == {202, 422}
    assert len(accepted) == 1
    assert await rows_of(client, postgres) == 1


async def test_another_order_of_the_same_fields_is_the_same_body(client: Client) -> None:
    first = await client.post("/v1/generations", {"Idempotency-Key": "one"}, json=IMAGE | {"options": {"a": 1, "b": 2}})
    again = await client.post("/v1/generations", {"Idempotency-Key": "one"}, json={"options": {"b": 2, "a": 1}} | IMAGE)
    assert (again.status, again.json["id"]) == (202, first.json["id"])


async def test_the_same_key_of_another_user_is_another_key(client_of: MakeClient) -> None:
    one, other = client_of(), client_of()
    first, second = await one.create(key="one"), await other.create(key="one", prompt="another")
    assert (first.status, second.status) == (202, 202)
    assert first.json["id"] != second.json["id"]


async def test_the_same_key_on_another_route_is_another_key(client: Client, postgres: asyncpg.Pool) -> None:
    native = await client.create(key="one")
    dialect = await client.post("/api/images/generate", {"Idempotency-Key": "one"}, json={"prompt": "x"})
    assert (native.status, dialect.status) == (202, 200)
    assert native.json["id"] != dialect.json["promptId"]


async def test_quotes_around_a_key_make_no_difference(client: Client) -> None:
    """The draft standard quotes it, most clients do not."""
    plain, quoted = await client.create(key="8e03978e"), await client.create(key='"8e03978e"')
    assert plain.json["id"] == quoted.json["id"]


async def test_without_a_key_every_request_is_its_own(client: Client, postgres: asyncpg.Pool) -> None:
    for _ in range(3):
        await client.accepted()
    assert await rows_of(client, postgres) == 3


async def test_a_held_open_request_that_is_repeated_joins_the_wait(
    client: Client, players: Players, postgres: asyncpg.Pool
) -> None:
    """B15"""
    players.scripts[client.user_id] = players.hold

    async def ask() -> Answer:
        return await client.post("/api/images/generate", {"Idempotency-Key": "one"}, json={"prompt": "x"})

    asking = [asyncio.create_task(ask()) for _ in range(5)]

    async def heard() -> bool:
        return bool(players.of(client.user_id))

    await until(heard)
    await asyncio.sleep(0.1)
    await players.complete((await players.published(client.user_id))[0])
    answers = await asyncio.gather(*asking)
    assert [answer.status for answer in answers] == [200] * 5
    assert len({answer.text for answer in answers}) == 1
    assert await rows_of(client, postgres) == 1


async def test_a_refused_request_does_not_use_its_key_up(client: Client, players: Players) -> None:
    players.available[client.user_id] = 0
    assert (await client.create(key="one")).status == 402
    players.available[client.user_id] = 10_000
    assert (await client.create(key="one", prompt="another")).status == 202


async def test_what_was_deleted_is_gone_for_whoever_has_nothing_left(client: Client, players: Players) -> None:
    made = await client.ended((await client.create(key="one")).json["id"])
    assert (await client.request("DELETE", f"/v1/generations/{made['id']}")).status == 204
    players.available[client.user_id] = 0
    for fields in ({}, {"model": "no such model"}):
        answer = await client.create(key="one", **fields)
        assert (answer.status, answer.json["code"]) == (410, "deleted")


async def test_a_connection_lost_while_recording_records_once(client: Client, postgres: asyncpg.Pool) -> None:
    """F27: whether the row was committed is not known, so it is written again under the same id."""
    await client.ended((await client.accepted())["id"])
    async with postgres.acquire() as connection, connection.transaction():
        await connection.execute("SELECT 1 FROM slots WHERE user_id = $1 FOR UPDATE", client.user_id)
        answering = asyncio.create_task(client.create(prompt="once"))

        async def cut() -> bool:
            cut = await postgres.fetchval("""
                SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'
            """)
            return bool(cut)

        await until(cut)
    answer = await answering
    assert (answer.status, answer.json["prompt"]) == (202, "once")
    assert await rows_of(client, postgres) == 2
    assert (await client.ended(answer.json["id"]))["status"] == "completed"


async def test_keys_do_not_reach_across_users_by_their_id(client_of: MakeClient) -> None:
    """Whoever guesses the id of somebody's key still sees nothing."""
    owner, stranger = client_of(), client_of()
    made = (await owner.create(key=str(uuid4()))).json
    assert (await stranger.get(f"/v1/generations/{made['id']}")).status == 404
