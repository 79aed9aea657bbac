"""How fast one user may ask: 429 with the seconds to wait, and nobody else notices (API4)."""

import time
from uuid import uuid4

import pytest

from gateway import pace as pace_module
from gateway.pace import Pace
from gateway.refusals import TooManyRequests
from gateway.settings import Settings

from .conftest import MakeClient, with_limits


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    return with_limits(settings, requests_per_minute=3)


@pytest.mark.connected
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
    # What is only asked again is no new work.
    assert (await hasty.create(key="0")).json["id"] == keyed[0]
    assert (await other.create()).status == 202


def test_a_bucket_fills_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(pace_module.time, "monotonic", lambda: now)
    pace, user = Pace(60), uuid4()
    for _ in range(60):
        pace.admit(user)
    with pytest.raises(TooManyRequests) as raised:
        pace.admit(user)
    assert raised.value.headers["Retry-After"] == "2"
    now = 2.5
    pace.admit(user)
    pace.admit(user)
    with pytest.raises(TooManyRequests):
        pace.admit(user)


def test_the_memory_for_users_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace_module, "MAX_USERS_LIMITED", 10)
    pace = Pace(1)
    users = [uuid4() for _ in range(20)]
    for user in users:
        pace.admit(user)
    with pytest.raises(TooManyRequests):
        pace.admit(users[-1])
    pace.admit(users[0])
