"""What is held open at the host that is `fal.run` to fal's clients: for whoever waits, and no longer."""

import asyncio
from dataclasses import replace

import pytest

from contracts.facts import Request
from gateway.dialects.fal import router
from gateway.settings import Settings

from .client import Client
from .conftest import with_limits
from .players import SEEDREAM, Players

pytestmark = pytest.mark.connected

HOST = "run.example"
APP = f"/bytedance/{SEEDREAM}"
INPUT = {"prompt": "A lighthouse in a storm"}


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    doors = settings.doors.model_copy(update={"fal_run_host": HOST})
    return replace(with_limits(settings, sync_wait_seconds=3), doors=doors)


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "mine"}], ids=["found by nobody", "found again"])
async def test_what_nobody_waits_for_any_more_is_cancelled(
    client: Client, players: Players, headers: dict[str, str]
) -> None:
    """fal's client for Python repeats what it gave up, up to ten times: each would be made and paid."""
    players.scripts[client.user_id] = players.hold
    for number in range(2):
        asking = asyncio.create_task(client.post(APP, {"Host": HOST, **headers}, json=INPUT))
        await players.published(client.user_id, 1 if headers else number + 1)
        await asyncio.wait([asking], timeout=0.5)
        assert asking.cancel(), "it is answered already"
        await asyncio.wait([asking])
    made = {str(request.generation_id) for request in players.of(client.user_id)}
    assert len(made) == (1 if headers else 2)
    if not headers:
        assert {(await client.ended(each))["status"] for each in made} == {"cancelled"}
        return
    [kept] = made
    await players.complete(await players.heard(kept))
    found = await client.post(APP, {"Host": HOST, **headers}, json=INPUT)
    assert (found.status, found.headers["X-Fal-Request-Id"]) == (200, kept)


@pytest.mark.parametrize(("agent", "status"), [("fal-client/1.0.3 (python)", 200), ("node", 504)])
async def test_a_client_is_held_for_as_long_as_it_waits(
    client: Client, players: Players, monkeypatch: pytest.MonkeyPatch, agent: str, status: int
) -> None:
    """fal's client for Python has no bound of its own; Node gives up, and asks anew."""

    async def play(request: Request) -> None:
        await asyncio.sleep(1)
        await players.complete(request)

    monkeypatch.setattr(router, "RUN_SECONDS", 0.3)
    players.scripts[client.user_id] = play
    answer = await client.post(APP, {"Host": HOST, "User-Agent": agent}, json=INPUT)
    assert answer.status == status, answer.text


async def test_a_result_as_events_is_refused_before_it_is_made(client: Client, players: Players) -> None:
    """As `stream` of fal's clients asks for it: it could not read the answer."""
    accept = {"Host": HOST, "Accept": "text/event-stream"}
    answer = await client.post(APP, accept, json=INPUT)
    assert (answer.status, "not as events" in answer.json["detail"]) == (422, True)
    assert (await client.post(f"{APP}/stream", accept, json=INPUT)).status in {404, 422}
    assert not players.of(client.user_id)


async def test_who_waits_for_too_many_is_refused_before_anything_is_made(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.waiting.MAX_WAITS_OF_USER", 0)
    answer = await client.post(APP, {"Host": HOST}, json=INPUT)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "5")
    assert (await client.get("/v1/generations")).json["items"] == []
