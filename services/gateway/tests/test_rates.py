"""How fast one user may ask, over all replicas: 429 with the seconds to wait, and nobody else notices (API4)."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import InterfaceError

from gateway import rates as rates_module
from gateway.rates import Limit, Rates
from gateway.refusals import TooManyRequests
from gateway.settings import LimitSettings, Settings
from runtime.database import Database
from runtime.settings import DatabaseSettings

from .client import Client
from .conftest import MakeClient, migrated, with_limits

pytestmark = pytest.mark.connected
MakeRates = Callable[[], Rates]


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    return with_limits(settings, requests_per_minute=3)


@pytest.fixture(scope="module")
async def bucket_url(make_database: Callable[[str], str]) -> str:
    return await migrated(make_database("rates"))


@pytest.fixture
async def replica(bucket_url: str) -> AsyncIterator[MakeRates]:
    """Makes the rates of one more replica on the same database."""
    async with AsyncExitStack() as opened:

        def make() -> Rates:
            database = Database(DatabaseSettings(database_url=SecretStr(bucket_url)), "gateway")
            opened.push_async_callback(database.close)
            return Rates(database, LimitSettings(requests_per_minute=3, deployment_requests_per_minute=5))

        yield make


async def test_too_many_in_a_minute_are_429_and_record_nothing(client_of: MakeClient) -> None:
    hasty, other = client_of(), client_of()
    keyed = [(await hasty.create(key=str(number))).json["id"] for number in range(3)]
    answer = await hasty.create(key="one more")
    assert (answer.status, answer.json["code"]) == (429, "too_many_requests")
    assert 0 < int(answer.headers["Retry-After"]) <= 20
    assert (await hasty.post("/api/images/generate", json={"prompt": "x"})).status == 429
    shown = await hasty.get("/v1/generations")
    assert len(shown.json["items"]) == 3
    assert (shown.headers["X-RateLimit-Limit"], shown.headers["X-RateLimit-Remaining"]) == ("3", "0")
    assert 0 < int(shown.headers["X-RateLimit-Reset"]) - time.time() <= 61
    assert shown.headers["RateLimit-Policy"] == '"user";q=3;w=60'
    assert shown.headers["RateLimit"].startswith('"user";r=0;t=')
    # What is only asked again is no new work.
    assert (await hasty.create(key="0")).json["id"] == keyed[0]
    assert (await other.create()).status == 202


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/generations", "{", 400),
        ("POST", "/v1/generations", "{}", 422),
        ("POST", "/api/v1/models/generate/image", "{}", 422),
        ("GET", "/api/v1/nothing", "", 404),
    ],
)
async def test_what_is_refused_before_anybody_is_asked_for_says_it_too(
    client: Client, nobody: Client, method: str, path: str, body: str, status: int
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await client.request(method, path, headers, data=body)
    assert (answer.status, answer.headers["X-RateLimit-Limit"], answer.headers["X-RateLimit-Remaining"]) == (
        status,
        "3",
        "3",
    ), answer.text
    for headers_of_strangers in ({}, {"Authorization": "Bearer nonsense"}):
        stranger = await nobody.request(method, path, headers | headers_of_strangers, data=body)
        assert "X-RateLimit-Limit" not in stranger.headers, stranger.text


async def admitted(rates: Rates, limit: Limit, times: int) -> int:
    """How many of so many pass."""
    passed = 0
    for _ in range(times):
        try:
            await rates.take(limit)
            passed += 1
        except TooManyRequests:
            pass
    return passed


@pytest.mark.parametrize("most", [1, 2, 3, 7, 60, 61, 119, 600, 1000])
async def test_replicas_share_one_bucket(replica: MakeRates, most: int) -> None:
    """Never more than the limit and what flowed in meanwhile; all but what lies in the other replicas' hands."""
    replicas = [replica() for _ in range(3)]
    limit = Limit(f"shared {most} {uuid4()}", most)
    began = time.monotonic()
    passed = sum(await asyncio.gather(*(admitted(each, limit, most) for each in replicas)))
    flowed_in = (time.monotonic() - began) / limit.pause_seconds
    assert most - 2 * (limit.lease - 1) <= passed <= most + flowed_in + 1


async def test_a_bucket_fills_up_again(replica: MakeRates, bucket_url: str) -> None:
    rates, limit = replica(), Limit(f"refilled {uuid4()}", 60)
    began, passed = time.monotonic(), 0
    with pytest.raises(TooManyRequests) as raised:
        while True:
            await rates.take(limit)
            passed += 1
    assert 60 <= passed <= 60 + (time.monotonic() - began) + 1
    assert raised.value.headers["Retry-After"] == "1"
    connection = await asyncpg.connect(bucket_url)
    await connection.execute("UPDATE rates SET full_at = full_at - interval '2.5 s' WHERE name = $1", limit.name)
    await connection.close()
    began = time.monotonic()
    assert 2 <= await admitted(replica(), limit, 5) <= 4 + (time.monotonic() - began)


async def test_who_was_refused_is_refused_without_another_question(
    replica: MakeRates, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates, limit = replica(), Limit(f"refused {uuid4()}", 1)
    asked = 0
    renew = Rates._renew

    async def counted(self: Rates, limit: Limit, lease: rates_module._Lease) -> None:
        nonlocal asked
        asked += 1
        await renew(self, limit, lease)

    monkeypatch.setattr(Rates, "_renew", counted)
    assert await admitted(rates, limit, 20) == 1
    assert asked == 2


async def test_all_users_together_have_a_limit_and_what_is_refused_costs_nobody(replica: MakeRates) -> None:
    rates, users = replica(), [uuid4() for _ in range(6)]
    for user in users[:5]:
        await rates.admit(user)
    with pytest.raises(TooManyRequests, match="all users"):
        await rates.admit(users[5])
    assert rates.left(rates.user(users[5]))[0] == 3, "he did not pay for what he did not get"
    assert rates.left(rates.user(users[0]))[0] == 2


async def test_a_plans_pause_is_kept_over_all_replicas(replica: MakeRates) -> None:
    one, other, user = replica(), replica(), uuid4()
    for refused in (ValueError, RuntimeError):
        with pytest.raises(refused):
            async with one.cooling(user, 30):
                raise refused
    async with one.cooling(user, 0), other.cooling(user, 30):
        pass
    for rates in (one, other):
        with pytest.raises(TooManyRequests, match="30 s between") as raised:
            async with rates.cooling(user, 30):
                pass
        assert 25 <= int(raised.value.headers["Retry-After"]) <= 30


@pytest.mark.parametrize("since_seconds", [0.0, 10.0])
async def test_a_pause_of_which_nobody_heard_that_it_was_taken_is_whoevers_took_it(
    replica: MakeRates, monkeypatch: pytest.MonkeyPatch, since_seconds: float
) -> None:
    """The database commits and the connection is lost: asked again, it says that there was one already."""
    rates, user = replica(), uuid4()
    pause = Limit(f"pause of {user}", 1, 30, "generation", None)
    taken, was_told = Rates._taken, False

    async def unheard(self: Rates, values: dict[str, Any]) -> Any:
        nonlocal was_told
        row = await taken(self, values)
        if not was_told:
            was_told = True
            raise InterfaceError("", None, ConnectionError("lost"))
        return row

    if since_seconds:
        await replica().take(pause)
        async with rates._database.statement() as connection:
            back = text("UPDATE rates SET full_at = full_at - make_interval(secs => :since) WHERE name = :name")
            await connection.execute(back, {"since": since_seconds, "name": pause.name})
    monkeypatch.setattr(Rates, "_taken", unheard)
    if not since_seconds:
        await rates.take(pause)
    with pytest.raises(TooManyRequests, match="30 s between"):
        await rates.take(pause)


async def test_a_pause_that_cannot_be_given_back_hides_no_answer(
    replica: MakeRates, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = replica()

    def gone() -> None:
        raise ConnectionError("the database is away")

    with pytest.raises(LookupError, match="why"):
        async with rates.cooling(uuid4(), 30):
            monkeypatch.setattr(rates._database, "statement", gone)
            raise LookupError("why nothing was accepted")


async def test_the_memory_for_users_is_bounded_and_full_buckets_are_forgotten(
    replica: MakeRates, bucket_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates_module, "MAX_LEASES", 10)
    monkeypatch.setattr(rates_module, "PURGE_SECONDS", -1.0)
    rates = replica()
    limits = [Limit(f"bounded {number} {uuid4()}", 60_000) for number in range(20)]
    for limit in limits:
        await rates.take(limit)
    assert len(rates._leases) == 10
    connection = await asyncpg.connect(bucket_url)
    await connection.execute("UPDATE rates SET full_at = now() - interval '1 s'")
    await rates.take(Limit(f"last {uuid4()}", 1))
    assert await connection.fetchval("SELECT count(*) FROM rates WHERE full_at < now()") == 0
    await connection.close()
