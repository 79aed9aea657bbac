"""What all processes together may use of a provider: as many at a time, as many a minute."""

import asyncio
from uuid import uuid4

import pytest

from contracts.facts import Lane
from generator.breakers import FAILURES_TO_OPEN, _Breaker

from .stage import ask, ask_film, ended

pytestmark = pytest.mark.connected


@pytest.fixture
async def limit(process, make_process):
    """Limits ModelArk, for two processes."""
    other = await make_process()

    async def set_to(max_running=None, per_minute=None):
        await process.rows(
            "INSERT INTO limits (provider, max_running, per_minute) VALUES ('modelark', :most, :rate) RETURNING 1",
            most=max_running,
            rate=per_minute,
        )
        await process.limits.refresh()
        await other.limits.refresh()
        return process, other

    yield set_to
    await process.rows("DELETE FROM limits RETURNING 1")


async def begun(process, requests):
    return [request for request in requests if await process.attempts(request)]


async def test_no_more_run_at_a_time_than_the_limit_says_over_all_processes(limit, simulator):
    """The others wait in their rows, and burn no attempt; a place is free as soon as a generation has ended."""
    processes = await limit(max_running=3)
    requests = [ask_film("[[sim:latency=60]]") for _ in range(8)]
    await asyncio.gather(*(processes[index % 2].generate(request) for index, request in enumerate(requests)))
    first = processes[0]
    running = await begun(first, requests)
    assert len(running) == 3 and all([await first.state(request) == "open" for request in requests])
    await first.rows("UPDATE work SET not_before = now() WHERE state = 'open' RETURNING 1")
    await processes[1].take_due()
    assert await begun(first, requests) == running
    await first.generator.close([ended(running[0])])
    await first.rows("UPDATE work SET not_before = now() WHERE state = 'open' RETURNING 1")
    await processes[1].take_due()
    assert len(await begun(first, requests)) == 4
    await first.generator.close([ended(request) for request in requests])
    await first.leases.stop_abandoned()
    assert sum(simulator.billed(request) for request in requests) == 0


async def test_bulk_leaves_a_person_half_of_the_places(limit):
    first, _ = await limit(max_running=4)
    bulk = [ask_film("[[sim:latency=60]]", lane=Lane.BATCH) for _ in range(5)]
    await asyncio.gather(*map(first.generate, bulk))
    people = [ask_film("[[sim:latency=60]]") for _ in range(3)]
    await asyncio.gather(*map(first.generate, people))
    assert (len(await begun(first, bulk)), len(await begun(first, people))) == (2, 2)
    await first.generator.close([ended(request) for request in bulk + people])


async def test_many_of_one_user_do_not_keep_another_waiting(limit):
    """Who has fewer places goes first, in whichever process; who waits no more keeps nobody back."""
    first, other = await limit(max_running=3)
    one = uuid4()
    many = [ask_film("[[sim:latency=60]]").model_copy(update={"user_id": one}) for _ in range(6)]
    for each in many:
        await first.generate(each)
    running = await begun(first, many)
    assert len(running) == 3, "alone, one user may have all"
    single = ask_film("[[sim:latency=60]]")
    await other.generate(single)
    await first.generator.close([ended(running[0])])
    waiting = [each for each in many if each not in running]

    async def due(process):
        await first.rows("UPDATE work SET not_before = now() WHERE state = 'open' RETURNING 1")
        await process.take_due()

    for each in waiting:
        assert not await first.limits.admit(each, "modelark"), "two places, and somebody with none waits"
    await due(other)
    assert await begun(first, [single]) == [single] and await begun(first, waiting) == []
    await first.generator.close([ended(single), ended(running[1])])
    gone = ask_film("[[sim:latency=60]]")
    assert await other.limits.admit(gone, "modelark")
    assert await first.limits.admit(waiting[0], "modelark")
    await first.rows(
        "INSERT INTO waiters (provider, lane, user_id) VALUES ('modelark', 'batch', :id) RETURNING 1", id=uuid4()
    )
    await first.generator.close([ended(running[2])])
    assert await first.limits.admit(waiting[1], "modelark"), "bulk keeps no person waiting"
    await first.generator.close([ended(each) for each in (*many, single, gone)])


async def test_who_was_cancelled_while_they_waited_is_forgotten(limit):
    first, _ = await limit(max_running=1)
    running, gone, waiting = (ask_film("[[sim:latency=60]]") for _ in range(3))
    for each in (running, gone, waiting):
        await first.generate(each)
    await first.generator.close([ended(gone)])
    await first.rows(
        "UPDATE waiters SET seen_at = now() - interval '2 minutes' WHERE user_id = :id RETURNING 1", id=gone.user_id
    )
    await first.limits.refresh()
    assert await first.rows("SELECT user_id FROM waiters") == [(waiting.user_id,)]
    await first.generator.close([ended(running), ended(waiting)])


async def test_nothing_is_remembered_of_who_waits_elsewhere(limit):
    """As often as one of them is heard of."""
    first, other = await limit(max_running=1)
    running, waiting = ask_film("[[sim:latency=60]]"), ask_film()
    for process in (first, other, first):
        for each in (running, waiting):
            await process.generate(each)
    assert await first.state(waiting) == "open"
    assert not first.limits._refused and not other.limits._refused
    await first.generator.close([ended(running), ended(waiting)])


async def test_no_more_begin_in_a_minute_than_the_limit_says(limit, simulator):
    first, other = await limit(per_minute=6)
    await first.rows("UPDATE limits SET tokens = 2 RETURNING 1")
    requests = [ask() for _ in range(5)]
    await asyncio.gather(*((first, other)[index % 2].generate(request) for index, request in enumerate(requests)))
    assert sum(len(simulator.calls(request)) for request in requests) == 2
    await first.generator.close([ended(request) for request in requests])


async def test_what_is_tried_again_counts_as_well(limit, simulator):
    """A provider counts calls. What must wait for the next minute waits in its row, and burns no attempt."""
    first, other = await limit(per_minute=6)
    await first.rows("UPDATE limits SET tokens = 2 RETURNING 1")
    request = ask("[[sim:500x2]]")
    await first.generate(request)
    assert len(simulator.calls(request)) == 2
    assert await first.attempts(request) == [(0, number, "failed", "provider_unavailable") for number in (1, 2)]
    assert await first.state(request) == "open"
    await first.rows("UPDATE limits SET tokens = 1 RETURNING 1")
    await first.rows("UPDATE work SET not_before = now() WHERE state = 'open' RETURNING 1")
    await other.take_due()
    assert [attempt[2] for attempt in await first.attempts(request)] == ["failed", "failed", "rendered"]


async def test_what_was_begun_before_costs_no_call_when_it_is_heard_of_again(limit, simulator):
    """In whichever process, and while it runs as well as when it is done; what is refused here costs none either."""
    first, other = await limit(per_minute=6)
    await first.rows("UPDATE limits SET tokens = 4 RETURNING 1")
    running, done, refused = ask_film("[[sim:latency=60]]"), ask(), ask("a nude child")
    for request in (running, done, refused, *[running, done] * 4):
        await other.generate(request)
        await first.generate(request)
    [(left,)] = await first.rows("SELECT tokens FROM limits")
    assert 2 <= left < 2 + 4 and len(simulator.calls(running)) == len(simulator.calls(done)) == 1
    await first.generator.close([ended(running)])


async def test_calls_that_something_keeps_from_being_made_are_given_back(limit, monkeypatch):
    """The database, or what judges the prompt."""
    first, _ = await limit(per_minute=6)
    await first.rows("UPDATE limits SET tokens = 3 RETURNING 1")

    async def away(*_, **__):
        raise ConnectionError

    for who, name in ((first.work, "claim"), (first.generator._driver.admission._moderation, "judge_prompt")):
        with monkeypatch.context() as patched, pytest.raises(ConnectionError):
            patched.setattr(who, name, away)
            await first.generate(ask(count=3))
        [(left,)] = await first.rows("SELECT tokens FROM limits")
        assert left >= 3, name


async def test_several_calls_of_one_generation_are_several(limit, simulator):
    """One that needs more than a minute allows begins with all that there is."""
    first, other = await limit(per_minute=6)
    await first.rows("UPDATE limits SET tokens = 3 RETURNING 1")
    four, many = ask(count=4), ask(count=8)
    await asyncio.gather(first.generate(four), other.generate(many))
    assert simulator.calls(four) == simulator.calls(many) == []
    await first.rows("UPDATE limits SET tokens = 6 RETURNING 1")
    assert await first.limits.admit(many, "modelark", 8)
    await first.generator.close([ended(request) for request in (four, many)])


async def test_who_stands_in_is_asked_by_no_more_than_its_limit_says(process, simulator):
    """What failed elsewhere goes on at a provider where it has no place yet."""
    await process.rows("INSERT INTO limits (provider, max_running) VALUES ('replicate', 1) RETURNING 1")
    await process.limits.refresh()
    process.breakers._known["fal", "flux-schnell"] = _Breaker(failures=FAILURES_TO_OPEN - 1)
    requests = [ask("[[sim:500x1,latency=60]]", model="flux-schnell", size="1024x1024", seconds=600) for _ in range(4)]
    await asyncio.gather(*map(process.generate, requests))
    rows = await process.rows("SELECT count(*) FROM attempts WHERE provider = 'replicate' AND state = 'submitted'")
    states = {await process.state(request) for request in requests}
    await process.rows("DELETE FROM limits RETURNING 1")
    await process.rows("DELETE FROM breakers RETURNING 1")
    await process.generator.close([ended(request) for request in requests])
    assert [tuple(row) for row in rows] == [(1,)] and states == {"open"}
