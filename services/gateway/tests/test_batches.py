"""Many things at once: all of them are accepted or none, and they are found together."""

import asyncio
from uuid import uuid4

import asyncpg
import pytest

from contracts.facts import Request
from contracts.questions import Plan

from .client import IMAGE, Answer, Client, until
from .conftest import MakeClient
from .players import Players

pytestmark = pytest.mark.connected


async def ask(client: Client, *items: dict[str, object], key: str | None = None) -> Answer:
    headers = {"Idempotency-Key": key} if key is not None else {}
    return await client.post("/v1/batches", headers, json={"items": [IMAGE | item for item in items]})


async def rows_of(client: Client, postgres: asyncpg.Pool) -> int:
    return int(await postgres.fetchval("SELECT count(*) FROM generations WHERE user_id = $1", client.user_id))


async def test_a_batch_is_accepted_whole_and_ends_whole(client: Client) -> None:
    answer = await ask(client, {"prompt": "one"}, {"prompt": "two", "count": 2}, {"prompt": "three"})
    assert answer.status == 202
    batch = answer.json
    assert answer.headers["Location"] == f"/v1/batches/{batch['id']}"
    assert [item["prompt"] for item in batch["items"]] == ["one", "two", "three"]
    assert (batch["total"], batch["quote"]) == (3, 4)

    async def finished() -> object:
        shown = (await client.get(answer.headers["Location"])).json
        return shown if shown["finished"] == 3 else None

    done = await until(finished)
    assert done["cost"] == 4
    listed = (await client.get(f"/v1/generations?batch={batch['id']}&lane=batch")).json["items"]
    assert {item["id"] for item in listed} == {item["id"] for item in batch["items"]}


async def test_one_bad_item_refuses_all(client: Client, postgres: asyncpg.Pool) -> None:
    answer = await ask(client, {}, {"prompt": "  "})
    assert (answer.status, answer.json["code"]) == (422, "invalid_request")
    assert await rows_of(client, postgres) == 0


@pytest.mark.parametrize("items", [[], [IMAGE] * 101])
async def test_a_batch_has_one_to_a_hundred_items(client: Client, items: list[object]) -> None:
    assert (await client.post("/v1/batches", json={"items": items})).status == 422


async def test_credits_have_to_do_for_all_of_it(client: Client, players: Players, postgres: asyncpg.Pool) -> None:
    players.available[client.user_id] = 20_000
    answer = await ask(client, {}, {}, {})
    assert (answer.status, answer.json["required"], answer.json["available"]) == (402, 3, 2)
    assert await rows_of(client, postgres) == 0


async def test_a_plan_bounds_each_item_and_not_the_number_of_items(
    client: Client, players: Players, postgres: asyncpg.Pool
) -> None:
    players.plans[client.user_id] = Plan(name="small", max_count=2)
    answer = await ask(client, {}, {"count": 3})
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, "count")
    assert await rows_of(client, postgres) == 0
    assert (await ask(client, {"count": 2}, {"count": 2})).status == 202


async def test_a_plans_cooldown_takes_a_batch_for_one(client: Client, players: Players, postgres: asyncpg.Pool) -> None:
    players.plans[client.user_id] = Plan(name="slow", cooldown_seconds=30)
    assert (await ask(client, {}, {}, {})).status == 202
    assert (await ask(client, {})).status == 429
    assert (await client.create()).status == 429
    assert await rows_of(client, postgres) == 3


async def test_a_plan_says_how_many_of_a_batch_are_at_work(
    client: Client, players: Players, postgres: asyncpg.Pool
) -> None:
    players.plans[client.user_id] = Plan(name="narrow", concurrent=2)
    go = asyncio.Event()

    async def wait(request: Request) -> None:
        await go.wait()
        await players.complete(request)

    players.scripts[client.user_id] = wait
    made = (await ask(client, {}, {}, {})).json["items"]
    published = "SELECT count(*) FROM generations WHERE user_id = $1 AND published"
    assert await postgres.fetchval(published, client.user_id) == 2
    go.set()
    for item in made:
        await players.heard(item["id"], seconds=10)


async def test_a_daily_cap_has_to_do_for_all_of_it(client: Client, players: Players, postgres: asyncpg.Pool) -> None:
    players.left_today[client.user_id] = 20_000
    answer = await ask(client, {}, {}, {})
    assert (answer.status, answer.json["code"]) == (429, "daily_cap_reached")
    assert (answer.json["required"], answer.json["left_today"]) == (3, 2)
    assert await rows_of(client, postgres) == 0


async def test_the_same_key_gives_the_same_batch(client: Client, postgres: asyncpg.Pool) -> None:
    answers = await asyncio.gather(*(ask(client, {"prompt": "a"}, {"prompt": "b"}, key="one") for _ in range(10)))
    assert {answer.status for answer in answers} == {202}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert await rows_of(client, postgres) == 2
    other = await ask(client, {"prompt": "a"}, {"prompt": "c"}, key="one")
    assert (other.status, other.json["code"]) == (422, "idempotency_mismatch")
    assert (await ask(client, {"prompt": "a"}, key="one")).status == 422
    for prompts in ("abc", "ba", "aa"):
        items = [{"prompt": prompt} for prompt in prompts]
        assert (await ask(client, *items, key="one")).status == 422, prompts


async def test_batches_in_both_lanes_do_not_wait_for_each_other(client: Client, players: Players) -> None:
    """Whichever lane they begin with: in one order each they would hold what the other wants next."""
    players.scripts[client.user_id] = players.hold
    ways = [["interactive", "batch"] * 5, ["batch", "interactive"] * 5] * 4
    answers = await asyncio.gather(
        *(client.post("/v1/batches", json={"items": [IMAGE | {"lane": lane} for lane in lanes]}) for lanes in ways)
    )
    for answer, lanes in zip(answers, ways, strict=True):
        assert answer.status == 202, answer.text
        shown = (await client.get(answer.headers["Location"])).json["items"]
        assert [item["id"] for item in shown] == [item["id"] for item in answer.json["items"]]
        for lane in set(lanes):
            listed = await client.get(f"/v1/generations?batch={answer.json['id']}&lane={lane}")
            assert len(listed.json["items"]) == 5


async def test_what_was_deleted_of_a_batch_is_still_of_its_key(client: Client) -> None:
    items = [{"prompt": "a"}, {"prompt": "b"}]
    made = (await ask(client, *items, key="one")).json["items"]
    await client.ended(made[1]["id"])
    assert (await client.request("DELETE", f"/v1/generations/{made[1]['id']}")).status == 204
    again = await ask(client, *items, key="one")
    assert (again.status, [item["prompt"] for item in again.json["items"]]) == (202, ["a"])
    assert (await ask(client, {"prompt": "a"}, key="one")).status == 422


async def test_a_batch_of_somebody_else_is_none(client: Client, client_of: MakeClient) -> None:
    stranger = client_of()
    batch = (await ask(client, {})).json
    assert (await stranger.get(f"/v1/batches/{batch['id']}")).status == 404
    assert (await client.get(f"/v1/batches/{uuid4()}")).status == 404
    assert (await client.get("/v1/batches/none")).status == 404
    assert (await stranger.get(f"/v1/generations?batch={batch['id']}")).json["items"] == []
