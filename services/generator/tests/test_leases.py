"""What a process may do under its leases: until when it may send, what it takes over beside what it was handed, what it
leaves behind with a lease that it gives back."""

import asyncio

import pytest

from .stage import ask, ask_film, ended, until

pytestmark = pytest.mark.connected


async def test_f16_a_renewal_that_did_not_hold_a_generation_does_not_let_it_be_sent(
    make_process, simulator, monkeypatch
):
    """The process was stopped between its claim and its answer, and renews what it knows of before it goes on."""
    monkeypatch.setattr("generator.submit.FIND_PAUSES_SECONDS", (0.0, 0.0))
    stopped, other = await make_process(0.3), await make_process()
    stopped.submitter.may_send = stopped.work.surely_holds
    claim, goes_on = stopped.work.claim, asyncio.Event()

    async def late(*claimed):
        lease = await claim(*claimed)
        await goes_on.wait()
        return lease

    stopped.work.claim = late
    request = ask_film("[[sim:latency=0.2]]")
    stale = stopped.begin(request)
    await until(lambda: stopped.state(request))
    await asyncio.sleep(0.4)
    await other.take_due()
    await stopped.leases.renew()
    goes_on.set()
    await stale
    await other.finish()
    assert len(simulator.calls(request)) == 1 and await other.rendered_times(request) == 1


async def test_what_a_renewal_held_may_be_sent_after_its_first_lease(make_process):
    process = await make_process(0.3)
    request = ask("[[sim:latency=1]]")
    running = process.begin(request)
    await until(lambda: process.generator.fences)
    await asyncio.sleep(0.35)
    [attempt] = await process.work.attempts(request.generation_id)
    assert not process.work.surely_holds(request.generation_id, attempt)
    await process.leases.renew()
    assert process.work.surely_holds(request.generation_id, attempt)
    await running


async def test_whoever_is_busy_with_what_it_was_handed_takes_over_all_the_same(process, simulator):
    """As much of it as it has room for, beside the messages: else nobody went on with what waits."""
    process.leases._capacity = 2
    waiting = [ask("[[sim:429x1=3.1]]", seconds=600) for _ in range(3)]
    await asyncio.gather(*map(process.generate, waiting))
    messages = [ask("[[sim:latency=30]]") for _ in range(4)]
    handed = [process.begin(each) for each in messages]
    await until(lambda: len(process.generator.running) == 4)
    await process.rows("UPDATE work SET not_before = now() WHERE state = 'open' RETURNING 1")
    await process.leases.take_due()
    await process.leases.take_due()
    assert len(process.leases._taken) == 2
    await process.take_due()
    assert len(process.generator.running) == 4
    await process.take_due()
    assert all([await process.rendered(each) for each in waiting])
    await process.generator.close([ended(each) for each in messages])
    await asyncio.gather(*handed)


async def test_f40_what_is_handed_over_and_cancelled_before_anybody_takes_it_is_no_intent_any_more(
    make_process, simulator
):
    """Of a film that was sent the next process asks the provider, so its intent is left; nobody takes it any more."""
    stopped, other = await make_process(), await make_process()
    request = ask_film("[[sim:hang]]")
    running = stopped.begin(request)
    await until(lambda: simulator.calls(request))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert await other.attempts(request) == [(0, 1, "intent", None)]
    await other.generator.close([ended(request)])
    assert await other.attempts(request) == [(0, 1, "unknown", "cancelled")]


async def test_f40_what_is_handed_over_with_an_intent_is_taken_at_once(make_process, simulator, monkeypatch):
    monkeypatch.setattr("generator.submit.FIND_PAUSES_SECONDS", (0.0, 0.0))
    stopped, other = await make_process(), await make_process()
    request = ask_film("[[sim:slow-first-byte=5,latency=0.2]]")
    running = stopped.begin(request)
    await until(lambda: simulator.calls(request))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await other.take_due()
    assert await other.attempts(request) == [(0, 1, "submitted", None)]
    await other.generator.close([ended(request)])


async def test_what_was_sent_is_forgotten_once_its_generation_is_closed(process):
    """And not before: this process may take it over again, and must not send it twice."""
    cancelled, lost = ask("[[sim:latency=5]]"), ask("[[sim:latency=1]]")
    running = [process.begin(cancelled), process.begin(lost)]
    await until(lambda: len(process.submitter._sent) == 2)
    [kept] = await process.work.attempts(lost.generation_id)
    await process.rows("UPDATE work SET fence = 2 WHERE generation_id = :id RETURNING 1", id=lost.generation_id)
    await process.generator.close([ended(cancelled)])
    await asyncio.gather(*running)
    assert process.submitter._sent == {kept.id}
    await process.generator.close([ended(lost)])


async def test_what_cannot_be_read_keeps_nothing_else_from_being_read(process, monkeypatch):
    """Whatever is the matter with it; and the loops and the start of a process go on."""

    async def unreadable():
        raise ValueError("no such kind")

    monkeypatch.setattr(process.catalog, "refresh", unreadable)
    await process.rows("INSERT INTO limits (provider, per_minute, tokens) VALUES ('modelark', 6, 0) RETURNING 1")
    assert await process.leases.refresh()
    assert not await process.limits.admit(ask(), "modelark")
    await process.rows("DELETE FROM limits RETURNING 1")
