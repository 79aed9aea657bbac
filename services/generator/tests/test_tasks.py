"""Films: a task at the provider, recorded before anything else, followed from its row, stopped where nobody waits."""

import asyncio
from uuid import uuid4

import pytest

from contracts.facts import Verdict
from contracts.progress import Progress
from contracts.tasks import FreshAddressOf
from contracts.topology import progress_subject
from generator import submit
from generator.fresh import fresh_address
from generator.providers.fal import Fal

from .stage import FILM, ask, ask_film, ended, until

pytestmark = pytest.mark.connected


@pytest.fixture(autouse=True)
async def quick(process):
    """A model that is looked at often."""
    await process.rows("UPDATE models SET p99_seconds = 10 WHERE id = :id RETURNING 1", id=FILM)
    await process.catalog.refresh()


async def tasks(process, request):
    rows = await process.rows(
        "SELECT task FROM attempts WHERE generation_id = :id ORDER BY number", id=request.generation_id
    )
    return [row.task for row in rows]


async def test_a_film_is_paid_once_and_its_slot_is_free_meanwhile(process, simulator):
    """The message is settled as soon as the task is recorded."""
    request = ask_film("[[sim:latency=0.6]]")
    await process.generate(request)
    assert await process.attempts(request) == [(0, 1, "submitted", None)]
    [task] = await tasks(process, request)
    assert task.startswith("cgt-") and process.generator.running == [] and len(process.follower) == 1
    await process.generate(request)
    await process.finish()
    [output] = (await process.rendered(request)).data.outputs
    assert output.url.startswith(simulator.url) and output.mime_type == "video/mp4"
    assert await process.attempts(request) == [(0, 1, "rendered", None)]
    assert await tasks(process, request) == [task]
    assert (len(simulator.calls(request)), simulator.billed(request)) == (1, 1)
    assert await process.rendered_times(request) == 1


async def test_a_provider_that_hangs_delays_the_looks_at_its_own_tasks_alone(process, monkeypatch):
    """Those that wait for room there are looked at once there is some."""
    monkeypatch.setattr("generator.follow.LOOKS_AT_ONCE", 2)
    films, picture = [ask_film() for _ in range(5)], ask(model="flux-schnell", size="1024x1024")
    for request in films:
        await process.generate(request)
    hanging, let_go, look = [], asyncio.Event(), process.submitter.look

    async def hang(assignment, attempt):
        if attempt.provider == "modelark":
            hanging.append(attempt)
            await let_go.wait()
        return await look(assignment, attempt)

    process.submitter.look = hang
    process.follower.start(process.leases.go_on)
    try:
        await until(lambda: len(hanging) == 2)
        await process.generate(picture)
        await until(lambda: process.rendered(picture))
        assert len(hanging) == 2
        let_go.set()
        await until(lambda: not process.follower)
    finally:
        await process.follower.stop()
    assert {attempt.id for attempt in hanging} == {
        attempt.id for film in films for attempt in await process.work.attempts(film.generation_id)
    }


async def test_progress_says_whether_it_waits_or_runs(process):
    request = ask_film("[[sim:latency=4]]")
    subscription = await process.broker.connection.subscribe(progress_subject(request.generation_id))
    await process.generate(request)
    await process.finish()
    told = [Progress.model_validate_json((await subscription.next_msg(timeout=2)).data) for _ in range(3)]
    await subscription.unsubscribe()
    assert [each.stage for each in told] == ["rendering", "waiting", "rendering"]
    assert [each.number for each in told] == sorted({each.number for each in told})


async def test_progress_is_estimated_from_the_models_own_last_tasks(process, make_process):
    """ModelArk says no percentage, so it is marked as an estimate."""
    await process.generate(first := ask_film("[[sim:latency=2]]"))
    await process.finish()
    assert await process.rendered(first) is not None
    other = await make_process()
    await other.rows("UPDATE attempts SET ended_at = created_at + interval '4 s' WHERE task IS NOT NULL RETURNING 1")
    request = ask_film("[[sim:latency=3]]")
    subscription = await process.broker.connection.subscribe(progress_subject(request.generation_id))
    await other.generate(request)
    await other.finish()
    told = []
    while subscription.pending_msgs:
        told.append(Progress.model_validate_json((await subscription.next_msg(timeout=1)).data))
    estimated = [each for each in told if each.is_estimate]
    assert len(estimated) >= 2 and all(0 < each.percent <= 90 for each in estimated)
    percents = [each.percent for each in estimated]
    assert percents == sorted(percents) and 1 <= estimated[0].remaining_seconds <= 4


async def test_progress_says_the_providers_own_percentage_and_place_in_its_queue(process):
    """fal says how many are before it."""
    request = ask("[[sim:latency=7]]", model="flux-schnell", size="1024x1024")
    subscription = await process.broker.connection.subscribe(progress_subject(request.generation_id))
    await process.generate(request)
    await process.finish()
    told = []
    while subscription.pending_msgs:
        told.append(Progress.model_validate_json((await subscription.next_msg(timeout=1)).data))
    assert any(each.stage == "waiting" and each.position is not None for each in told)


@pytest.mark.parametrize(
    ("fault", "code", "calls"),
    [
        ("task-moderated", "content_policy", 1),
        ("task-failed", "provider_unavailable", 3),
        ("task-no-url", "provider_unknown", 1),
        ("moderated", "content_policy", 1),
    ],
)
async def test_a_task_that_fails_costs_the_user_nothing(process, simulator, fault, code, calls):
    """What the provider failed at is tried again; what it refused is not."""
    request = ask_film(f"[[sim:{fault}]]")
    await process.generate(request)
    await process.finish()
    assert (await process.outcome(request)).data.failure.code == code
    assert len(simulator.calls(request)) == calls and await process.rendered(request) is None


async def test_what_is_done_and_made_nothing_is_not_paid_again(process, simulator):
    """Where an unknown picture is made once more."""
    request = ask("[[sim:task-no-url]]", model="flux-schnell", size="1024x1024")
    await process.generate(request)
    await process.finish()
    assert (await process.outcome(request)).data.failure.code == "nothing_made"
    assert len(simulator.calls(request)) == 1 and process.breakers._known == {}


@pytest.mark.parametrize("fault", ["task-backwards", "look-refusedx2=503", "look-refusedx2=429"])
async def test_what_says_nothing_about_the_task_is_looked_at_again(process, simulator, fault):
    request = ask_film(f"[[sim:{fault},latency=0.3]]")
    await process.generate(request)
    await process.finish()
    assert await process.rendered(request) is not None and len(simulator.calls(request)) == 1


async def test_f14_a_lost_answer_is_found_by_our_reference(process, simulator):
    """Paid once although nobody told us which task it became."""
    request = ask_film("[[sim:lost]]")
    await process.generate(request)
    assert await process.attempts(request) == [(0, 1, "submitted", None)]
    await process.finish()
    assert await process.rendered(request) is not None
    assert (len(simulator.calls(request)), simulator.billed(request)) == (1, 1)


async def test_a_call_that_left_no_task_is_made_again(process, simulator, monkeypatch):
    """Accepted, never answered, and the provider has no such task."""
    monkeypatch.setattr(submit, "FIND_PAUSES_SECONDS", (0.0, 0.1))
    request = ask_film("[[sim:hangx1]]", seconds=8)
    await process.rows("UPDATE models SET deadline_seconds = 2 WHERE id = :id RETURNING 1", id=request.model)
    await process.catalog.refresh()
    try:
        await process.generate(request)
        await process.finish()
        states = [attempt[2] for attempt in await process.attempts(request)]
        assert states == ["failed", "rendered"] and simulator.billed(request) == 1
    finally:
        await process.rows("UPDATE models SET deadline_seconds = 900 WHERE id = :id RETURNING 1", id=request.model)


async def test_past_its_deadline_a_task_is_cancelled_and_failed(process, simulator):
    """It still waits, so the provider takes nothing."""
    request = ask_film("[[sim:latency=60]]", seconds=3)
    await process.generate(request)
    await process.finish()
    assert await process.attempts(request) == [(0, 1, "failed", "deadline")]
    assert (await process.outcome(request)).data.failure.code == "deadline"
    assert simulator.billed(request) == 0 and len(simulator.calls(request)) == 1


async def test_a_task_that_cannot_be_stopped_at_its_deadline_is_unknown(process, simulator):
    """It may be charged, and stands there so."""
    request = ask_film("[[sim:task-stuck,latency=0.5]]", seconds=3)
    await process.generate(request)
    await process.finish()
    assert await process.attempts(request) == [(0, 1, "unknown", "deadline")]
    assert (await process.outcome(request)).data.verdict is Verdict.FAILED


async def test_a_task_whose_provider_is_away_at_its_deadline_is_stopped_later(process, simulator, monkeypatch):
    """Its user is told in time; nobody has stopped it by then."""
    request = ask_film("[[sim:latency=60]]", seconds=3)
    await process.generate(request)
    with monkeypatch.context() as away:
        away.setitem(process.submitter._providers, "modelark", Fal(process.session, "k", "http://127.0.0.1:1"))
        await process.finish()
        assert (await process.outcome(request)).data.failure.code == "deadline"
        await process.leases.stop_abandoned()
    await process.leases.stop_abandoned()
    assert await process.attempts(request) == [(0, 1, "failed", "cancelled")] and simulator.billed(request) == 0


async def test_a_cancelled_generation_is_stopped_at_its_provider(process, make_process, simulator):
    """Whoever hears the outcome sees to it, also where another process follows the task."""
    hearing = await make_process()
    request = ask_film("[[sim:latency=60]]")
    await process.generate(request)
    await hearing.generator.close([ended(request)])
    await hearing.leases.stop_abandoned()
    assert await process.attempts(request) == [(0, 1, "failed", "cancelled")]
    assert simulator.billed(request) == 0
    await process.leases.renew_waiting()
    assert len(process.follower) == 0 and await process.outcome(request) is None


async def test_many_whose_provider_is_away_keep_no_other_from_being_stopped(process, simulator, monkeypatch):
    """Its calls are answered by nobody; whoever comes after them is asked for in one of the next sweeps."""
    monkeypatch.setattr("generator.stopping.ROWS", 4)
    away = [ask("[[sim:latency=60]]", model="flux-schnell", size="1024x1024") for _ in range(8)]
    await asyncio.gather(*map(process.generate, away))
    monkeypatch.setitem(process.submitter._providers, "fal", Fal(process.session, "k", "http://127.0.0.1:1"))
    request = ask_film("[[sim:latency=60]]")
    await process.generate(request)
    await process.generator.close([ended(each) for each in (*away, request)])
    for _ in range(30):
        await process.leases.stop_abandoned()
        if await process.attempts(request) == [(0, 1, "failed", "cancelled")]:
            break
    assert await process.attempts(request) == [(0, 1, "failed", "cancelled")]
    assert await process.attempts(away[0]) == [(0, 1, "submitted", None)], "it is asked for again and again"
    await process.rows("UPDATE attempts SET state = 'unknown' WHERE state = 'submitted' RETURNING 1")


async def test_a_task_that_cannot_be_read_keeps_no_other_from_being_stopped(process):
    """A version of the service that knows less than the one that wrote the row."""
    requests = alien, request = ask_film("[[sim:latency=60]]"), ask_film("[[sim:latency=60]]")
    await asyncio.gather(*map(process.generate, requests))
    older = "UPDATE work SET request = '{}' WHERE generation_id = :id RETURNING 1"
    await process.rows(older, id=alien.generation_id)
    await process.generator.close([ended(each) for each in requests])
    await process.leases.stop_abandoned()
    assert await process.attempts(request) == [(0, 1, "failed", "cancelled")]
    assert await process.attempts(alien) == [(0, 1, "submitted", None)]
    await process.rows("UPDATE attempts SET state = 'unknown' WHERE state = 'submitted' RETURNING 1")


async def test_a_film_that_runs_already_is_unknown_when_it_is_cancelled(process, simulator):
    request = ask_film("[[sim:latency=2]]")
    await process.generate(request)
    await asyncio.sleep(0.6)
    await process.generator.close([ended(request)])
    assert len(process.follower) == 0
    await process.leases.stop_abandoned()
    assert await process.attempts(request) == [(0, 1, "unknown", "cancelled")]


async def test_a_task_that_begins_while_its_generation_is_cancelled_is_stopped(process, simulator):
    """The call is not cut off: its answer names what has to be stopped."""
    request = ask_film("[[sim:slow-first-byte=0.6,latency=60]]")
    running = process.begin(request)
    await until(lambda: process.attempts(request))
    await asyncio.sleep(0.2)
    await process.generator.close([ended(request)])
    await asyncio.wait_for(running, 1)
    assert await process.attempts(request) == [(0, 1, "unknown", "cancelled")]

    async def stopped():
        return await process.attempts(request) == [(0, 1, "failed", "cancelled")]

    await until(stopped)
    assert simulator.billed(request) == 0


async def test_a_closed_generation_begins_no_film(process, simulator):
    request = ask_film()
    await process.generator.close([ended(request)])
    await process.generate(request)
    assert simulator.calls(request) == [] and await process.attempts(request) == []


async def test_f15_what_a_stopped_process_followed_is_followed_by_another_at_once(make_process, simulator):
    first, second = await make_process(), await make_process()
    requests = [ask_film("[[sim:latency=0.5]]") for _ in range(5)]
    await asyncio.gather(*map(first.generate, requests))
    await first.leases.drain()
    await first.leases.stop()
    await second.take_due()
    assert all(request.generation_id in second.follower for request in requests)
    await second.finish()
    for request in requests:
        assert await second.attempts(request) == [(0, 1, "rendered", None)]
        assert len(simulator.calls(request)) == 1 and await second.rendered_times(request) == 1


async def test_renewed_leases_of_tasks_are_not_taken_over(make_process):
    first, second = await make_process(0.2), await make_process()
    request = ask_film("[[sim:latency=60]]")
    await first.generate(request)
    for _ in range(4):
        await asyncio.sleep(0.5)
        await first.leases.renew_waiting()
        await second.take_due()
    assert request.generation_id in first.follower and request.generation_id not in second.follower
    await first.generator.close([ended(request)])


@pytest.fixture
async def two_films(process):
    """The model makes one at a time: two tasks of one generation, each of which has four seconds."""
    change = "UPDATE models SET max_count = :most, deadline_seconds = :seconds WHERE id = :id RETURNING 1"
    await process.rows(change, most=2, seconds=4, id=FILM)
    await process.catalog.refresh()
    yield
    await process.rows(change, most=1, seconds=900, id=FILM)


@pytest.mark.parametrize("fault", ["429x1=8", "500x1"], ids=["asked to wait", "without a retry left"])
async def test_who_waits_to_try_one_film_again_does_not_lose_the_other(process, two_films, monkeypatch, fault):
    """While it is waited for in place nobody looks at the one that is there, and was paid for."""

    async def spent(*_):
        return False

    monkeypatch.setattr("generator.limits.RETRY_PAUSE_SECONDS", (8.0, 8.0))
    monkeypatch.setattr(process.limits.budgets, "take", spent)
    request = ask_film(f"[[sim:{fault},latency=0.4]]", count=2)
    began_at = asyncio.get_running_loop().time()
    await process.generate(request)
    await process.finish()
    assert asyncio.get_running_loop().time() - began_at < 4
    assert sorted(attempt[2] for attempt in await process.attempts(request)) == ["failed", "rendered"]
    await process.generator.close([ended(request)])


async def test_one_of_two_films_that_fails_leaves_the_other_its_time(process, simulator):
    """The model makes one at a time: two tasks of one generation."""
    request = ask_film("[[sim:task-moderatedx1,latency=0.4]]", count=2)
    await process.rows("UPDATE models SET max_count = 2 WHERE id = :id RETURNING 1", id=request.model)
    await process.catalog.refresh()
    await process.generate(request)
    assert len(process.follower) == 2
    await process.finish()
    outputs = (await process.rendered(request)).data.outputs
    assert sorted(output.failure is None for output in outputs) == [False, True]
    await process.rows("UPDATE models SET max_count = 1 WHERE id = :id RETURNING 1", id=request.model)


async def test_many_are_followed_by_one_loop(process, simulator):
    """No task, connection or message waits: what is there between two looks is a row and an entry of a heap."""
    requests = [ask_film("[[sim:latency=2]]") for _ in range(300)]
    await asyncio.gather(*map(process.generate, requests))
    assert len(process.follower) == 300
    before = len(asyncio.all_tasks())
    assert before < 30
    process.follower.start(process.leases.go_on)
    await asyncio.sleep(0.3)
    assert len(asyncio.all_tasks()) < before + 70
    await until(lambda: not process.follower and not process.leases._taken, 30)
    await process.follower.stop()
    times = await process.rows(
        "SELECT count(*) AS n FROM attempts WHERE state = 'rendered' AND generation_id = ANY (:ids)",
        ids=[request.generation_id for request in requests],
    )
    assert times[0].n == 300
    assert sum(simulator.billed(request) for request in requests[:20]) == 20


async def test_f20_where_a_film_is_by_now_is_asked_of_its_provider_free_of_charge(process, simulator):
    request = ask_film("[[sim:latency=0.2]]")
    await process.generate(request)
    await process.finish()
    [output] = (await process.rendered(request)).data.outputs
    question = FreshAddressOf(generation_id=request.generation_id, index=0)
    told = await fresh_address(process.work, process.catalog, process.submitter, question)
    assert told.url is not None and told.url.startswith(simulator.url)
    assert told.url.split("?")[0] == output.url.split("?")[0]
    assert simulator.billed(request) == 1
    for nothing in (
        FreshAddressOf(generation_id=request.generation_id, index=1),
        FreshAddressOf(generation_id=uuid4(), index=0),
    ):
        assert (await fresh_address(process.work, process.catalog, process.submitter, nothing)).url is None
