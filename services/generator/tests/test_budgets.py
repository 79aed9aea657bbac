"""How often a provider is asked again for what failed: a share of first tries, over all processes."""

import asyncio
import math
import time
from uuid import uuid4

import pytest

from contracts.facts import Failure, Verdict
from generator.attempts import INTERRUPTED, KEY_NOT_READ, NOT_SENT, State, first_attempts
from generator.budgets import FLOOR_RETRIES, RETRY_SHARE, WINDOW_SECONDS, is_retry
from generator.providers import darkroom
from generator.providers.interface import Throttled, Unavailable, Unreadable

from .stage import ask

pytestmark = pytest.mark.connected
MODELARK = "modelark"
NOTHING = -1000.0
"""So little that none comes back within minutes."""


def tries(count, provider=MODELARK):
    return [first_attempts(uuid4(), 1, 1, provider, uuid4())[0] for _ in range(count)]


async def leave(process, retries):
    await process.limits.budgets.tell()
    await process.rows(
        "INSERT INTO retry_budgets (provider, retries_left) VALUES ('modelark', :left) "
        "ON CONFLICT (provider) DO UPDATE SET retries_left = :left, counted_at = clock_timestamp() RETURNING 1",
        left=retries,
    )


@pytest.fixture(autouse=True)
async def forgotten(process):
    yield
    await process.rows("DELETE FROM retry_budgets RETURNING 1")


@pytest.mark.parametrize(
    ("provider", "failure", "counts"),
    [
        (MODELARK, Unavailable().failure, True),
        (MODELARK, INTERRUPTED, True),
        (MODELARK, Throttled().failure, False),
        (MODELARK, NOT_SENT, False),
        (MODELARK, KEY_NOT_READ, False),
        (MODELARK, Unreadable().failure, False),
        (darkroom.NAME, Unavailable().failure, False),
    ],
    ids=["failed", "lost", "one too many", "never sent", "its key not known", "not read", "our own"],
)
def test_what_loads_a_provider_again_counts(provider, failure: Failure, counts):
    [attempt] = tries(1, provider)
    assert is_retry(attempt.ended(State.FAILED, failure)) is counts


async def taken_by(*budgets):
    """How many retries there are for them, who ask in turns, and how many came back by themselves meanwhile at most."""
    began_at, taken = time.monotonic(), 0
    for each in budgets:
        each._refused_until.clear()
    while await budgets[taken % len(budgets)].take(MODELARK, 1):
        taken += 1
    return taken, FLOOR_RETRIES * (time.monotonic() - began_at) / WINDOW_SECONDS + 1


async def test_replicas_share_one_budget_of_a_floor_and_a_fifth_of_first_tries(process, make_process):
    """Whichever of them earned it, once it has told."""
    mine, theirs = process.limits.budgets, (await make_process()).limits.budgets
    taken, back = await taken_by(mine, theirs)
    assert FLOOR_RETRIES <= taken <= FLOOR_RETRIES + back
    assert not await theirs.take(MODELARK, 1), "the other finds nothing either"
    theirs.count(tries(100))
    theirs.count([tries(1, darkroom.NAME)[0], tries(1)[0].next(uuid4(), uuid4())])
    await theirs.tell()
    earned, back_again = await taken_by(mine)
    assert 100 * RETRY_SHARE <= earned <= 100 * RETRY_SHARE + back + back_again


async def test_what_was_earned_leaks_away_and_what_was_taken_comes_back(process):
    budgets = process.limits.budgets
    for left, windows in ((FLOOR_RETRIES + 100, 1), (0, 1), (FLOOR_RETRIES + 100, 20)):
        await leave(process, left)
        await process.rows(
            "UPDATE retry_budgets SET counted_at = counted_at - make_interval(secs => :seconds) RETURNING 1",
            seconds=WINDOW_SECONDS * windows,
        )
        budgets.give_back(MODELARK, 0)
        await budgets.tell()
        [(found,)] = await process.rows("SELECT retries_left FROM retry_budgets")
        assert found == pytest.approx(FLOOR_RETRIES + (left - FLOOR_RETRIES) * math.exp(-windows), abs=2)


async def test_without_a_retry_left_the_work_waits_in_its_row_and_goes_on_when_there_is_one(
    process, make_process, simulator
):
    await leave(process, NOTHING)
    request = ask("[[sim:500x2]]")
    await process.generate(request)
    assert len(simulator.calls(request)) == 1 and await process.state(request) == "open"
    assert await process.attempts(request) == [(0, 1, "failed", "provider_unavailable")]
    [(waits,)] = await process.rows(
        "SELECT not_before > now() FROM work WHERE generation_id = :id", id=request.generation_id
    )
    assert waits
    await leave(process, 5)
    await process.rows("UPDATE work SET not_before = now() WHERE state = 'open' RETURNING 1")
    await (await make_process()).take_due()
    assert [attempt[2] for attempt in await process.attempts(request)] == ["failed", "failed", "rendered"]


async def test_without_time_to_wait_it_ends_as_it_failed(process, simulator, monkeypatch):
    monkeypatch.setattr("generator.limits.RETRY_PAUSE_SECONDS", (1000.0, 1000.0))
    await leave(process, NOTHING)
    request = ask("[[sim:500]]")
    await process.generate(request)
    outcome = await process.outcome(request)
    assert (outcome.data.verdict, outcome.data.failure.code) == (Verdict.FAILED, "provider_unavailable")
    assert len(simulator.calls(request)) == 1


async def test_what_was_sent_away_as_one_too_many_needs_no_retry(process, simulator):
    await leave(process, NOTHING)
    request = ask("[[sim:429x1=0.1]]")
    await process.generate(request)
    assert await process.rendered(request) is not None and len(simulator.calls(request)) == 2


async def test_a_provider_that_fails_is_not_asked_three_times_for_everything(process, make_process, monkeypatch):
    """Through the whole way: forty generations of which every call fails, in two processes."""
    monkeypatch.setattr("generator.breakers.FAILURES_TO_OPEN", 1000)
    monkeypatch.setattr("generator.attempts.UNAVAILABLE_PAUSE_SECONDS", (0.01, 0.01))
    monkeypatch.setattr("generator.limits.RETRY_PAUSE_SECONDS", (1000.0, 1000.0))
    processes = (process, await make_process())
    requests = [ask("[[sim:500]]") for _ in range(40)]
    began_at = time.monotonic()
    await asyncio.gather(*(processes[index % 2].generate(each) for index, each in enumerate(requests)))
    [(first, again)] = await process.rows(
        "SELECT count(*) FILTER (WHERE number = 1), count(*) FILTER (WHERE number > 1) FROM attempts "
        "WHERE generation_id = ANY(:ids)",
        ids=[each.generation_id for each in requests],
    )
    back = FLOOR_RETRIES * (time.monotonic() - began_at) / WINDOW_SECONDS
    assert first == 40 and again <= FLOOR_RETRIES + 40 * RETRY_SHARE + back
    assert again < 2 * 40, "as it would be without"
