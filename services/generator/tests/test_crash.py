"""Processes that die, pause, are stopped or meet each other: every attempt is paid once, and none silently twice."""

import asyncio

import pytest

from contracts.facts import Failure, Verdict
from generator.attempts import INTERRUPTED, State

from .stage import CHEAP, DEAR, FILM, ask, ask_film, ended, until

pytestmark = pytest.mark.connected


async def test_f13_and_f14_killed_before_the_call_left_and_after_it_was_accepted(process, simulator, kill):
    """P11. From the rows nobody can tell the two apart, so the model's policy decides: a second charge only where it
    says so, never a third, and each that may have been one stands there as unknown."""
    models = (CHEAP, DEAR, CHEAP, DEAR, CHEAP)
    cheap_sent, dear_sent, cheap, dear, unlucky = (ask(model=model, seconds=600) for model in models)
    everything = (cheap_sent, dear_sent, cheap, dear, unlucky)
    await kill(sent=[cheap_sent, dear_sent], accepted=[cheap, dear, unlucky])
    assert [len(simulator.calls(request)) for request in everything] == [0, 0, 1, 1, 1]
    for request in everything:
        assert await process.attempts(request) == [(0, 1, "intent", None)]
        await process.generate(request)
    assert [len(simulator.calls(request)) for request in everything] == [0, 0, 1, 1, 1], "the lease of the dead holds"
    await asyncio.sleep(1.1)
    await process.generate(cheap)
    await kill(accepted=[unlucky])
    await asyncio.sleep(1.1)
    await process.take_due()
    assert [len(simulator.calls(request)) for request in everything] == [1, 0, 2, 1, 2]
    states = [[attempt[2] for attempt in await process.attempts(request)] for request in everything]
    assert states == [["unknown", "rendered"], ["unknown"], ["unknown", "rendered"], ["unknown"], ["unknown"] * 2]
    for request in (cheap_sent, cheap):
        assert await process.rendered_times(request) == 1
    for request in (dear_sent, dear, unlucky):
        assert (await process.outcome(request)).data.failure.code == "provider_unknown"


TIMES = 20


async def test_f13_f14_f15_a_film_survives_a_kill_at_every_arrow(process, simulator, kill):
    """P11, twenty times at each: the same task goes on, and the provider was asked for it once."""
    await process.rows("UPDATE models SET p99_seconds = 10 WHERE id = :id RETURNING 1", id=FILM)
    await process.catalog.refresh()
    points = ("sent", "accepted", "submitted", "looked", "rendered")
    at = {point: [ask_film("[[sim:latency=0.5]]") for _ in range(TIMES)] for point in points}
    await kill(**at)
    assert {point: sum(len(simulator.calls(each)) for each in asked) for point, asked in at.items()} == {
        "sent": 0,
        "accepted": TIMES,
        "submitted": TIMES,
        "looked": TIMES,
        "rendered": TIMES,
    }
    states = {"sent": "intent", "accepted": "intent", "submitted": "submitted", "looked": "submitted"}
    for point, asked in at.items():
        for each in asked:
            assert await process.attempts(each) == [(0, 1, states.get(point, "rendered"), None)]
    everything = [each for asked in at.values() for each in asked]
    process.leases.start()
    await until(lambda: said(process, everything[:-TIMES]), 40)
    await asyncio.gather(*(process.generate(each) for each in at["rendered"]))
    await process.leases.drain()
    for point, asked in at.items():
        for each in asked:
            failed = [(0, 1, "failed", "provider_unavailable")] if point == "sent" else []
            assert await process.attempts(each) == [*failed, (0, len(failed) + 1, "rendered", None)]
            assert (len(simulator.calls(each)), simulator.billed(each)) == (1, 1)
            assert await process.rendered_times(each) == 1


async def said(process, requests):
    """Whether all of them are rendered and said so."""
    return all([await process.rendered_times(each) for each in requests])


async def test_f16_a_stale_follower_changes_nothing_and_says_nothing(make_process, simulator):
    """Both follow the same task; the fence says whose it is."""
    paused, other = await make_process(0.05), await make_process()
    request = ask_film("[[sim:latency=1.2]]")
    await paused.generate(request)
    await asyncio.sleep(0.4)
    await other.take_due()
    assert request.generation_id in paused.follower and request.generation_id in other.follower
    await paused.finish()
    assert await paused.state(request) == "open" and await paused.rendered(request) is None
    await other.finish()
    assert await other.rendered_times(request) == 1 and len(simulator.calls(request)) == 1


async def test_f16_a_stale_writer_changes_nothing_and_says_nothing(make_process, simulator):
    """The first only paused; meanwhile its leases ran out and another went on."""
    paused, other = await make_process(0.3), await make_process()
    cheap, dear = ask("[[sim:latencyx1=1.5]]", model=CHEAP), ask("[[sim:latencyx1=1.5]]", model=DEAR)
    running = [paused.begin(cheap), paused.begin(dear)]
    await asyncio.sleep(0.6)
    await other.take_due()

    async def seen(request):
        times = await other.rendered_times(request)
        return await other.attempts(request), await other.state(request), times, await other.outcome(request)

    before = await seen(cheap), await seen(dear)
    assert [attempt[2] for attempt in before[0][0]] == ["unknown", "rendered"] and before[0][2] == 1
    assert [attempt[2] for attempt in before[1][0]] == ["unknown"] and before[1][3].data.verdict is Verdict.FAILED
    await asyncio.gather(*running)
    assert (await seen(cheap), await seen(dear)) == before
    assert (len(simulator.calls(cheap)), len(simulator.calls(dear))) == (2, 1)


async def test_f16_a_stale_writer_is_refused_also_while_the_other_still_works(make_process, simulator):
    """The work is open when the stale result comes: the fence alone says whose it is."""
    paused, other = await make_process(0.3), await make_process()
    request = ask("[[sim:latencyx2=1.5]]")
    stale = paused.begin(request)
    await asyncio.sleep(0.8)
    fresh = asyncio.create_task(other.take_due())
    await stale
    assert await other.state(request) == "open" and await other.rendered_times(request) == 0
    assert [attempt[2] for attempt in await other.attempts(request)] == ["unknown", "intent"]
    await fresh
    assert await other.rendered_times(request) == 1 and len(simulator.calls(request)) == 2


async def test_f16_a_process_that_was_stopped_before_its_call_does_not_make_it_any_more(
    make_process, simulator, monkeypatch
):
    """Meanwhile another asked the provider, heard of nothing, and began anew: the first call would be a second one."""
    monkeypatch.setattr("generator.submit.FIND_PAUSES_SECONDS", (0.0, 0.0))
    stopped, other = await make_process(0.3), await make_process()
    stopped.submitter.may_send = stopped.work.surely_holds
    submit, goes_on = stopped.submitter.submit, asyncio.Event()

    async def late(assignment, attempt):
        await goes_on.wait()
        return await submit(assignment, attempt)

    stopped.submitter.submit = late
    request = ask_film("[[sim:latency=0.2]]")
    stale = stopped.begin(request)
    await until(lambda: stopped.state(request))
    await asyncio.sleep(0.4)
    await other.take_due()
    goes_on.set()
    await stale
    await other.finish()
    assert len(simulator.calls(request)) == 1 and await other.rendered_times(request) == 1


async def test_f10_the_same_fact_in_three_processes_at_once_is_paid_once(make_process, simulator):
    processes = [await make_process() for _ in range(3)]
    requests = [ask("[[sim:latency=0.3]]") for _ in range(5)]
    await asyncio.gather(*(process.generate(request) for request in requests for process in processes * 3))
    for request in requests:
        assert len(simulator.calls(request)) == 1
        assert await processes[0].rendered_times(request) == 1


async def test_a_fact_that_meets_a_live_lease_is_settled_at_once(make_process, simulator):
    first, second = await make_process(), await make_process()
    request = ask("[[sim:latency=1]]")
    running = first.begin(request)
    await until(lambda: first.state(request))
    await asyncio.wait_for(second.generate(request), 0.5)
    await asyncio.wait_for(first.generate(request), 0.5)
    await running
    assert len(simulator.calls(request)) == 1


async def test_renewed_leases_are_not_taken_over(make_process, simulator):
    first, second = await make_process(0.4), await make_process()
    first.leases.start()
    request = ask("[[sim:latency=1.2]]")
    running = first.begin(request)
    for _ in range(4):
        await asyncio.sleep(0.25)
        await second.take_due()
    await running
    assert len(simulator.calls(request)) == 1 and await second.attempts(request) == [(0, 1, "rendered", None)]


async def test_funded_again_after_rendered_is_said_again_unpaid(make_process, simulator):
    """Promise 2, also in a process that never heard of it."""
    first, second = await make_process(), await make_process()
    request = ask("[[sim:fail-every=3]]", count=3)
    await first.generate(request)
    said = await first.rendered(request)
    await second.generate(request)
    assert await first.rendered_times(request) == 2
    again = await first.rendered(request)
    assert (again.id, again.data) == (said.id, said.data)
    assert len(simulator.calls(request)) == 3


async def test_funded_after_the_close_starts_nothing_and_says_the_outcome_again(process, simulator):
    """Promise 3; the log was wiped meanwhile, so the outcome is said again, word for word."""
    request, theirs = ask(), None
    theirs = ended(request)
    await process.generator.close([theirs])
    await process.generate(request)
    assert simulator.calls(request) == [] and await process.attempts(request) == []
    assert await process.outcome(request) == theirs


async def test_the_first_outcome_is_kept_for_ever(process):
    request = ask()
    first = ended(request)
    await process.generator.close([first])
    await process.generator.close([first, ended(request, Verdict.FAILED, "storage")])
    query = "SELECT outcome ->> 'id' AS id FROM work WHERE generation_id = :id"
    assert (await process.rows(query, id=request.generation_id))[0].id == str(first.id)


async def test_a_cancelled_generation_is_stopped_while_it_renders(process, simulator):
    request = ask("[[sim:latency=5]]", count=2)
    running = process.begin(request)
    await until(lambda: process.attempts(request))
    await process.generator.close([ended(request)])
    await asyncio.wait_for(running, 1)
    assert await process.attempts(request) == [(0, 1, "unknown", "cancelled"), (1, 1, "unknown", "cancelled")]
    assert await process.state(request) == "closed" and await process.rendered(request) is None
    assert (await process.outcome(request)) is None, "the outcome is somebody else's to say"
    await process.take_due()
    assert len(simulator.calls(request)) <= 2


async def test_a_cancellation_that_another_process_heard_stops_it_at_the_next_renewal(make_process):
    working, hearing = await make_process(), await make_process()
    request = ask("[[sim:latency=5]]")
    running = working.begin(request)
    await until(lambda: working.attempts(request))
    await hearing.generator.close([ended(request)])
    assert not running.done()
    await working.leases.renew()
    await asyncio.wait_for(running, 1)
    assert await working.attempts(request) == [(0, 1, "unknown", "cancelled")]


async def test_closing_and_opening_at_once_leaves_no_open_work(make_process, simulator):
    """Both lock the same row: whoever comes second sees the other."""
    first, second = await make_process(), await make_process()
    requests = [ask("[[sim:latency=0.2]]") for _ in range(30)]
    await asyncio.gather(
        *(first.generate(request) for request in requests),
        *(second.generator.close([ended(request)]) for request in requests),
    )
    query = "SELECT count(*) AS n FROM work WHERE generation_id = ANY(:ids) AND state <> 'closed'"
    assert (await first.rows(query, ids=[request.generation_id for request in requests]))[0].n == 0
    query = "SELECT count(*) AS n FROM attempts WHERE generation_id = ANY(:ids) AND state = 'intent'"
    assert (await first.rows(query, ids=[request.generation_id for request in requests]))[0].n == 0
    assert all(len(simulator.calls(request)) <= 1 for request in requests)


async def test_due_work_is_shared_between_processes(make_process, simulator):
    """Each open row whose lease ran out is taken by exactly one."""
    gone = await make_process(0.2)
    requests = [ask("[[sim:429x1=3.1]]") for _ in range(12)]
    await asyncio.gather(*map(gone.generate, requests))
    others = [await make_process() for _ in range(3)]
    await gone.rows("UPDATE work SET not_before = now() WHERE state = 'open' RETURNING 1")
    await asyncio.gather(*(other.take_due() for other in others))
    for request in requests:
        assert [call["billed"] for call in simulator.calls(request)] == [0, 1]
        assert await gone.rendered_times(request) == 1


async def test_f40_a_stopped_process_hands_over_at_once_and_says_what_is_unknown(make_process, simulator):
    """What was sent and not answered is unknown, and stands there so before the lease is given back."""
    stopped, other = await make_process(), await make_process()
    request = ask("[[sim:latencyx1=5]]")
    running = stopped.begin(request)
    await until(lambda: stopped.attempts(request))
    await asyncio.sleep(0.1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await other.attempts(request) == [(0, 1, "unknown", INTERRUPTED.code)]
    await other.generate(request)
    assert [attempt[2] for attempt in await other.attempts(request)] == ["unknown", "rendered"]


async def test_f26_a_database_that_comes_back_finds_the_result_still_there(process, simulator):
    """Its connections are cut while the provider is at work; what was paid for is recorded, not paid again."""
    request = ask("[[sim:latency=0.5]]")
    running = process.begin(request)
    await until(lambda: process.attempts(request))
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    await process.rows(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
    await running
    assert len(simulator.calls(request)) == 1 and await process.attempts(request) == [(0, 1, "rendered", None)]
    assert await process.rendered_times(request) == 1


async def test_a_defect_leaves_the_row_to_be_tried_later_and_its_deadline_ends_it(process, simulator, monkeypatch):
    """Nothing left, so nothing is unknown; the next try comes after a pause, so that a defect is no hot loop."""
    request = ask(seconds=3)

    async def broken(*_):
        raise ZeroDivisionError

    with monkeypatch.context() as planted:
        planted.setattr(process.submitter, "submit", broken)
        with pytest.raises(ZeroDivisionError):
            await process.generate(request)
    assert await process.attempts(request) == [(0, 1, "failed", "provider_unavailable")]
    await process.take_due()
    assert await process.state(request) == "open", "not before its pause is over"
    await process.rows(
        "UPDATE work SET not_before = now(), deadline_at = now() WHERE generation_id = :id RETURNING 1",
        id=request.generation_id,
    )
    await process.take_due()
    assert (await process.outcome(request)).data.verdict is Verdict.FAILED and simulator.calls(request) == []


async def test_work_that_cannot_be_read_keeps_no_other_waiting(process, simulator):
    """A version of the service that knows less than the one that wrote the row."""
    request, alien = ask("[[sim:429x1=3.1]]"), ask("[[sim:429x1=3.1]]")
    await asyncio.gather(process.generate(request), process.generate(alien))
    await process.rows("UPDATE work SET not_before = now() WHERE state = 'open' RETURNING 1")
    older = "UPDATE work SET request = '{}', lease_until = lease_until - interval '1 s' WHERE generation_id = :id"
    await process.rows(f"{older} RETURNING 1", id=alien.generation_id)
    await process.take_due()
    assert await process.rendered_times(request) == 1 and simulator.billed(alien) == 0


async def test_p11_where_an_attempt_begins_its_lease_begins_too(process, make_process, simulator):
    """A worker that was stopped for longer than its lease, and is back before anybody took over: until when it may
    send is reckoned from here, and so nobody takes over meanwhile."""
    request = ask(model=DEAR)
    first = await process.generator._driver.admission.first(request, await process.catalog.find(request))
    lease = await process.work.claim(request, None, first)
    over = "UPDATE work SET lease_until = now() - interval '1 s' WHERE generation_id = :id RETURNING 1"
    await process.rows(over, id=request.generation_id)
    failed = first[0].ended(State.FAILED, Failure(code="provider_error", message="It is away."))
    second = failed.next(request.generation_id, process.work.process)
    assert await process.work.save(lease, [failed], [second]) and process.work.surely_holds(
        request.generation_id, second
    )
    await (await make_process()).take_due()
    assert [attempt[1:3] for attempt in await process.attempts(request)] == [(1, "failed"), (2, "intent")]
    assert simulator.calls(request) == []


async def test_an_intent_of_our_own_that_was_never_sent_is_not_unknown(process, simulator):
    """A lost connection during the claim's commit: the row is there, nobody was told. The attempt is simply made."""
    request = ask(model=DEAR)
    model = await process.catalog.find(request)
    first = await process.generator._driver.admission.first(request, model)
    assert await process.work.claim(request, None, first) is not None
    await process.generate(request)
    assert await process.attempts(request) == [(0, 1, "rendered", None)] and len(simulator.calls(request)) == 1
