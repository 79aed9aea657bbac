"""Films whose provider answers whoever has lost them: each goes on, or is stopped, and none is paid for nobody."""

import asyncio

import pytest

from .stage import ask_film, ended, until

pytestmark = pytest.mark.connected
UNLISTED = {"model": "pika-2.2", "size": "1280x720"}
"""A film of a provider that cannot be asked for it by our reference."""


@pytest.fixture
async def twice(process):
    """An unknown attempt at that film is made once more."""
    change = "UPDATE models SET unknown_policy = :policy WHERE id = 'pika-2.2' RETURNING 1"
    await process.rows(change, policy="resubmit_once")
    yield
    await process.rows(change, policy="fail")


async def test_f16_a_film_that_was_given_up_while_it_was_submitted_is_stopped(twice, make_process, simulator):
    """Its provider answers whoever lost the lease, after another has begun anew: nobody waits for the first any more,
    and what the other records later of it does not undo that there is one."""
    paused, other = await make_process(0.3), await make_process()
    request = ask_film("[[sim:slow-first-bytex1=1.5,latency=60]]", **UNLISTED)
    stale = paused.begin(request)
    await asyncio.sleep(0.6)
    await other.take_due()
    assert [attempt[2] for attempt in await other.attempts(request)] == ["unknown", "submitted"]
    await stale
    await other.generator._driver._save(other.follower._courses[request.generation_id])
    await other.leases.stop_abandoned()
    assert await other.attempts(request) == [(0, 1, "failed", "cancelled"), (0, 2, "submitted", None)]
    await other.generator.close([ended(request)])


async def test_f16_a_film_that_another_has_the_place_of_is_not_followed(twice, make_process, simulator):
    """Not by the next process either: it would be paid, and fetched, for nobody."""
    paused, other, third = await make_process(0.3), await make_process(), await make_process()
    request = ask_film("[[sim:slow-first-bytex1=1.5,latency=60]]", **UNLISTED)
    stale = paused.begin(request)
    await asyncio.sleep(0.6)
    await other.take_due()
    await stale
    assert await other.attempts(request) == [(0, 1, "submitted", None), (0, 2, "submitted", None)]
    await other.leases.stop()
    await third.take_due()
    assert [watched.attempt.number for watched in third.follower._watched.values()] == [2]
    await third.generator.close([ended(request)])


async def test_f40_a_film_whose_answer_comes_after_the_stop_is_followed_by_the_next(make_process, simulator):
    """Nobody has taken it over yet, and so it is not made again, nor given up."""
    stopped, other = await make_process(), await make_process()
    request = ask_film("[[sim:slow-first-byte=0.6,latency=60]]", **UNLISTED)
    running = stopped.begin(request)
    await until(lambda: simulator.calls(request))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await other.attempts(request) == [(0, 1, "intent", None)]
    await stopped.submitter.drain()
    await other.take_due()
    assert await other.attempts(request) == [(0, 1, "submitted", None)] and request.generation_id in other.follower
    await other.generator.close([ended(request)])
