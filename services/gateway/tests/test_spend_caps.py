"""A capped key: what it consumes is counted as what it has made is, once, on one day, and given back where it was
refused."""

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from contracts.facts import Failure, Request, Verdict
from contracts.money import UNITS_PER_CREDIT
from contracts.questions import Plan
from gateway import accepting
from gateway.api_keys.ring import Key
from gateway.settings import Settings

from .client import IMAGE, Answer, Client, until
from .conftest import MakeClient
from .players import Players
from .test_api_keys import assert_problem, make_key, program

pytestmark = pytest.mark.connected


async def spent(postgres: asyncpg.Pool, client: Client) -> int | float:
    """In credits, by all keys of a user."""
    units = await postgres.fetchval(
        "SELECT coalesce(sum(units), 0)::bigint FROM api_key_spending s JOIN api_keys k ON k.id = s.api_key_id"
        " WHERE k.user_id = $1",
        client.user_id,
    )
    return int(units) / UNITS_PER_CREDIT


async def consume(client: Client, amount: float, key: str | None = None) -> Answer:
    return await client.post("/v1/credits/consume", {"Idempotency-Key": key} if key else {}, json={"amount": amount})


async def test_what_a_key_consumes_is_bounded_by_its_cap(
    client: Client, client_of: MakeClient, postgres: asyncpg.Pool, players: Players
) -> None:
    holder = await program(client_of, client, credits_per_day=3)
    assert (await consume(holder, 2)).status == 200
    assert_problem(await consume(holder, 2), 429, "spend_cap_reached")
    refused = await holder.post("/functions/v1/consume-credits", json={"credits": 2})
    assert (refused.status, refused.json["code"]) == (429, "SPEND_CAP_REACHED")
    assert_problem(await holder.create(count=2), 429, "spend_cap_reached")
    assert (await consume(client, 2)).status == 200, "the cap is the key's"
    assert await spent(postgres, client) == 2
    assert sum(each.amount for each in players.consumed.values() if each.user_id == client.user_id) == 40_000


async def test_a_repeated_consumption_is_counted_once(
    client: Client, client_of: MakeClient, postgres: asyncpg.Pool
) -> None:
    holder = await program(client_of, client, credits_per_day=2)
    assert [(await consume(holder, 2, "once")).status for _ in range(3)] == [200, 200, 200]
    assert await spent(postgres, client) == 2
    narrow = await program(client_of, client, credits_per_day=3)
    assert {answer.status for answer in await asyncio.gather(*(consume(narrow, 3, "all") for _ in range(3)))} == {200}
    assert_problem(await consume(narrow, 3, "more"), 429, "spend_cap_reached")
    wider = await program(client_of, client, credits_per_day=100)
    assert {answer.status for answer in await asyncio.gather(*(consume(wider, 5, "many") for _ in range(5)))} == {200}
    assert await spent(postgres, client) == 10


@contextlib.contextmanager
def silence(players: Players, client: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A ledger that says nothing of a user, and is not waited for long."""
    with monkeypatch.context() as impatient:
        impatient.setattr("gateway.funds.CONSUME_TIMEOUT_SECONDS", 0.3)
        players.silent.add(client.user_id)
        yield
        players.silent.remove(client.user_id)


async def test_what_the_ledger_refused_is_given_back_and_what_was_not_heard_stays(
    client: Client, client_of: MakeClient, postgres: asyncpg.Pool, players: Players, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = await program(client_of, client, credits_per_day=1000)
    players.available[client.user_id] = 10_000
    assert_problem(await consume(holder, 2, "dear"), 402, "insufficient_credits")
    assert await spent(postgres, client) == 0
    with silence(players, client, monkeypatch):
        for _ in range(2):
            assert_problem(await consume(holder, 1, "unheard"), 504, "not_heard")
            assert await spent(postgres, client) == 1
    assert (await consume(holder, 1, "unheard")).status == 200
    assert await spent(postgres, client) == 1


async def test_what_cannot_be_given_back_stays_counted_and_hides_no_answer(
    client: Client, client_of: MakeClient, postgres: asyncpg.Pool, players: Players, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = await program(client_of, client, credits_per_day=5)

    async def gone(*_: Any) -> None:
        raise ConnectionError("the database is away")

    monkeypatch.setattr("gateway.api_keys.spending.give_back", gone)
    players.available[client.user_id] = 10_000
    assert_problem(await consume(holder, 2), 402, "insufficient_credits")
    assert_problem(await holder.create(count=2), 402, "insufficient_credits")
    assert await spent(postgres, client) == 2


async def test_under_the_key_of_what_was_not_heard_nothing_dearer_is_taken_uncounted(
    client: Client, client_of: MakeClient, postgres: asyncpg.Pool, players: Players, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = await program(client_of, client, credits_per_day=3)
    with silence(players, client, monkeypatch):
        assert_problem(await consume(holder, 1, "unheard"), 504, "not_heard")
    assert_problem(await consume(holder, 5, "unheard"), 429, "spend_cap_reached")
    assert (await consume(holder, 2, "unheard")).status == 200
    assert await spent(postgres, client) == 3


async def test_a_key_that_was_just_revoked_is_refused(client: Client, client_of: MakeClient) -> None:
    made = await make_key(client, credits_per_day=3)
    holder = client_of(client.user_id, made["key"])
    assert (await holder.create()).status == 202
    assert (await client.request("DELETE", f"/v1/api-keys/{made['id']}")).status == 204
    assert_problem(await holder.create(), 401, "unauthenticated")
    assert_problem(await consume(holder, 1), 401, "unauthenticated")


async def test_what_passes_midnight_is_given_back_to_the_day_that_paid(
    client: Client, client_of: MakeClient, postgres: asyncpg.Pool, players: Players, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted a moment before 0:00 and recorded a moment after."""

    async def before_midnight(_: Any, key: Key, units: int) -> datetime:
        counted_at = datetime.now(UTC) - timedelta(days=1)
        await postgres.execute("INSERT INTO api_key_spending VALUES ($1, $2, $3)", key.id, counted_at.date(), units)
        return counted_at

    async def fail(request: Request) -> None:
        await players.end(request, Verdict.FAILED, Failure(code="provider_error", message="It says no."))

    players.scripts[client.user_id] = fail
    holder = await program(client_of, client, credits_per_day=5)
    assert (await consume(holder, 2)).status == 200
    monkeypatch.setattr("gateway.api_keys.spending._counted", before_midnight)
    await client.ended((await holder.accepted())["id"])

    async def days() -> list[int]:
        rows = await postgres.fetch(
            "SELECT units FROM api_key_spending s JOIN api_keys k ON k.id = s.api_key_id WHERE user_id = $1"
            " ORDER BY day",
            client.user_id,
        )
        return [row["units"] for row in rows]

    async def is_given_back() -> bool:
        return await days() != [10_000, 20_000]

    await until(is_given_back)
    assert await days() == [0, 20_000]


async def test_the_same_request_is_found_whatever_refuses_it(
    client: Client, client_of: MakeClient, players: Players, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look that finds nothing yet, and then the cap or the pause that the same request has taken meanwhile."""
    look, found_late = accepting.existing, asyncio.Event()

    async def late(*arguments: Any) -> Any:
        return await look(*arguments) if found_late.is_set() else found_late.set()

    for bound in ("cap", "pause"):
        user = client_of()
        holder = await program(client_of, user, credits_per_day=1 if bound == "cap" else 100)
        if bound == "pause":
            players.plans[user.user_id] = Plan(cooldown_seconds=60)
        first = await holder.create(key="once")
        found_late.clear()
        monkeypatch.setattr("gateway.commands.existing", late)
        again = await holder.create(key="once")
        monkeypatch.undo()
        assert (first.status, again.status) == (202, 202), again.text
        assert first.json["id"] == again.json["id"]
        assert (await holder.create()).status == 429


async def test_a_refused_request_uses_up_no_pause(
    client: Client, client_of: MakeClient, players: Players, postgres: asyncpg.Pool, settings: Settings
) -> None:
    players.plans[client.user_id] = Plan(cooldown_seconds=60)
    holder, limits = await program(client_of, client, credits_per_day=1), settings.limits
    assert_problem(await holder.create(count=2), 429, "spend_cap_reached")
    await postgres.execute(
        "INSERT INTO slots (user_id, lane, taken, waiting) VALUES ($1, 'interactive', $2, $3)",
        client.user_id,
        limits.interactive_slots,
        limits.max_waiting,
    )
    answer = await holder.create()
    assert (answer.status, "waiting" in answer.text) == (429, True)
    await postgres.execute("DELETE FROM slots WHERE user_id = $1", client.user_id)
    assert (await holder.create()).status == 202
    refused = await client.create()
    assert (refused.status, "per minute" in refused.text) == (429, True)


async def test_three_at_once_under_one_key_are_one_generation(client: Client, players: Players) -> None:
    players.plans[client.user_id] = Plan(cooldown_seconds=60)
    answers = await asyncio.gather(*(client.create(key="once") for _ in range(3)))
    assert [answer.status for answer in answers] == [202, 202, 202], [answer.text for answer in answers]
    assert len({answer.json["id"] for answer in answers}) == 1


@pytest.mark.parametrize("period", ["day", "month"])
async def test_a_key_spends_up_to_its_cap(
    client: Client, client_of: MakeClient, postgres: asyncpg.Pool, players: Players, period: str
) -> None:
    made = await make_key(client, **{f"credits_per_{period}": 3})
    holder = client_of(client.user_id, made["key"])
    answers = await asyncio.gather(*(holder.create() for _ in range(5)))
    accepted = [answer for answer in answers if answer.status == 202]
    assert len(accepted) == 3, [answer.text for answer in answers]
    refused = next(answer for answer in answers if answer.status != 202)
    assert_problem(refused, 429, "spend_cap_reached")
    assert 0 < int(refused.headers["Retry-After"]) <= 86_401
    assert refused.json["required"] == 1
    assert_problem(await holder.post("/v1/batches", json={"items": [IMAGE]}), 429, "spend_cap_reached")
    assert await postgres.fetchval("SELECT count(*) FROM generations WHERE user_id = $1", client.user_id) == 3
    assert (await client.create()).status == 202, "the cap is the key's"
    await postgres.execute(
        "UPDATE api_key_spending SET day = day - CASE WHEN extract(day FROM day) = 1 THEN 31 ELSE 1 END"
        " WHERE api_key_id = $1",
        UUID(made["id"]),
    )
    yesterday_was_last_month = datetime.now(UTC).day == 1
    expected = 202 if period == "day" or yesterday_was_last_month else 429
    assert (await holder.create()).status == expected


async def test_what_failed_costs_the_key_nothing(
    client: Client, client_of: MakeClient, postgres: asyncpg.Pool, players: Players
) -> None:
    holder = await program(client_of, client, credits_per_day=2)

    async def fail(request: Request) -> None:
        await players.end(request, Verdict.FAILED, Failure(code="provider_error", message="It says no."))

    async def nothing_spent() -> bool:
        return await spent(postgres, client) == 0

    players.scripts[client.user_id] = fail
    for _ in range(4):
        made = await holder.accepted()
        assert (await client.ended(made["id"]))["status"] == "failed"
        await until(nothing_spent)
    players.scripts[client.user_id] = players.complete
    assert (await client.ended((await holder.accepted())["id"]))["status"] == "completed"
    assert await spent(postgres, client) == 1


async def test_the_same_key_again_is_paid_once(
    client: Client, client_of: MakeClient, postgres: asyncpg.Pool, players: Players
) -> None:
    holder = await program(client_of, client, credits_per_day=5)
    players.scripts[client.user_id] = players.hold
    answers = await asyncio.gather(*(holder.create(key="once") for _ in range(5)))
    assert {answer.status for answer in answers} == {202}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert await spent(postgres, client) == 1
    assert (await holder.create(key="once")).status == 202
    assert await spent(postgres, client) == 1


async def test_what_is_not_accepted_is_not_spent(client: Client, client_of: MakeClient, postgres: asyncpg.Pool) -> None:
    holder = await program(client_of, client, credits_per_day=5)
    assert (await holder.create(prompt="")).status == 422
    assert (await holder.create(count=4, model="no such model")).status == 422
    await postgres.execute(
        "INSERT INTO slots (user_id, lane, taken, waiting) VALUES ($1, 'interactive', 32, 1000)", client.user_id
    )
    assert_problem(await holder.create(), 429, "too_many_requests")
    assert await spent(postgres, client) == 0
