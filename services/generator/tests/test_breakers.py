"""A provider's model that fails again and again is left alone by every process; who costs the same stands in for it."""

import asyncio
import time
from dataclasses import replace

import pytest

from contracts.facts import Input
from generator.attempts import NEVER_ASKED, State, first_attempts, standing
from generator.breakers import FAILURES_TO_OPEN, OPEN_SECONDS, _Breaker
from generator.course import Assignment
from generator.providers.interface import QuotaExhausted, Task, Unavailable, Unreadable
from generator.providers.openai import OpenAI
from runtime.outbound import OutboundSettings, make_session

from .stage import CHEAP, DEAR, FILM, ask, ask_film
from .vendor import answering

pytestmark = pytest.mark.connected


async def fail(process, model=CHEAP):
    """Until its breaker is open; three calls each."""
    for _ in range(FAILURES_TO_OPEN // 3 + 1):
        await process.generate(ask("[[sim:500]]", model=model, size="1024x1024", seconds=12))


async def opened(process):
    return [tuple(row) for row in await process.rows("SELECT provider, model FROM breakers")]


@pytest.fixture(autouse=True)
async def closed(process):
    yield
    await process.rows("DELETE FROM breakers RETURNING 1")
    await process.rows("DELETE FROM retry_budgets RETURNING 1")


async def test_what_fails_in_a_row_is_left_alone_and_the_work_waits_in_its_row(process, make_process, simulator):
    """No attempt is burnt meanwhile, in another process neither; then one call tries, and closes it for everybody."""
    other = await make_process()
    await fail(process)
    assert await opened(process) == [("modelark", CHEAP)]
    await other.breakers.refresh()
    requests = [ask(), ask()]
    await process.generate(requests[0])
    await other.generate(requests[1])
    for request in requests:
        assert await process.state(request) == "open" and await process.attempts(request) == []
        assert simulator.calls(request) == []
    process.breakers._known["modelark", CHEAP].open_until = 0
    await process.rows("UPDATE work SET not_before = now() WHERE state = 'open' RETURNING 1")
    await process.take_due()
    assert await opened(process) == []
    await other.breakers.refresh()
    probe = ask()
    await other.generate(probe)
    assert await process.rendered(probe) is not None


async def test_a_trial_that_fails_opens_it_for_longer(process, simulator):
    await fail(process)
    breaker = process.breakers._known["modelark", CHEAP]
    first_seconds = breaker.open_seconds
    breaker.open_until = 0
    requests = [ask("[[sim:500]]", seconds=600) for _ in range(5)]
    await asyncio.gather(*map(process.generate, requests))
    assert sum(len(simulator.calls(request)) for request in requests) == 1, "one tries, the others wait for it"
    assert breaker.open_seconds == 2 * first_seconds


async def test_calls_that_fail_together_open_it_once(process):
    """Whatever was under way when it was opened is no trial: thirty calls that broke off at once are one outage."""
    [attempt] = first_attempts(ask().generation_id, 1, 1, "modelark", "p1", CHEAP)
    failed = replace(attempt, state=State.FAILED, failure=Unavailable().failure)
    await asyncio.gather(*(process.breakers.note(failed) for _ in range(3 * FAILURES_TO_OPEN)))
    assert process.breakers._known["modelark", CHEAP].open_seconds == OPEN_SECONDS[0]


async def test_a_trial_that_is_not_made_is_left_to_the_next(process, simulator):
    """It was begun before, or must not be begun."""
    done, refused, request = ask(), ask("a nude child"), ask()
    await process.generate(done)
    await fail(process)
    process.breakers._known["modelark", CHEAP].open_until = 0
    for each in (done, refused, request):
        await process.generate(each)
    assert await process.rendered(request) is not None and await opened(process) == []


async def test_a_trial_that_something_keeps_from_being_made_is_left_to_the_next(process, monkeypatch):
    """Whatever that is: the database, what judges the prompt, a limit."""
    await fail(process)
    model, breaker = process.catalog._models[CHEAP], process.breakers._known["modelark", CHEAP]
    [tired] = first_attempts(ask().generation_id, 1, 1, "modelark", process.work.process, CHEAP)

    async def away(*_, **__):
        raise ConnectionError

    async def full(*_, **__):
        return False

    for who, name, instead in (
        (process.limits, "admit", away),
        (process.limits, "admit_again", full),
        (process.generator._driver.admission._moderation, "judge_prompt", away),
        (process.work, "claim", away),
    ):
        breaker.open_until = 0
        with monkeypatch.context() as patched:
            patched.setattr(who, name, instead)
            if name == "admit_again":
                assignment = Assignment(ask(), None, model, time.monotonic() + 60)
                admission = process.generator._driver.admission
                assert await admission.again(None, assignment, [tired], in_place=False) is None
            else:
                with pytest.raises(ConnectionError):
                    await process.generate(ask())
        assert process.breakers.blocked_seconds(model) <= 0, name


async def test_what_several_calls_have_failed_for_is_one_trial(process, simulator):
    """Each by itself was let through alone, so that none of them was made, again and again."""
    process.breakers._known["modelark", CHEAP] = breaker = _Breaker(failures=FAILURES_TO_OPEN - 2)
    request = ask("[[sim:500x2]]", count=2, seconds=600)
    await process.generate(request)
    assert await process.state(request) == "open" and breaker.open_seconds
    breaker.open_until = 0
    query = "UPDATE work SET not_before = now() WHERE generation_id = :id RETURNING 1"
    await process.rows(query, id=request.generation_id)
    await process.generate(request)
    assert [attempt[2] for attempt in await process.attempts(request)] == ["failed", "rendered"] * 2


async def test_without_time_to_wait_it_fails_uncalled(process, simulator):
    await fail(process)
    request = ask(seconds=10)
    await process.generate(request)
    assert (await process.outcome(request)).data.failure.code == "provider_unavailable"
    assert simulator.calls(request) == []


async def test_a_provider_that_takes_everything_and_makes_nothing_is_left_alone(process, make_process):
    """Only a result closes it, in another process neither."""
    other = await make_process()
    [attempt] = first_attempts(ask().generation_id, 1, 1, "modelark", process.work.process, FILM)
    taken = attempt.submitted(Task("cgt-1"))
    for _ in range(FAILURES_TO_OPEN):
        await process.breakers.note(taken)
        assert await opened(process) == []
        await process.breakers.note(taken.ended(State.FAILED, Unavailable().failure))
    assert await opened(process) == [("modelark", FILM)]
    await other.breakers.refresh()
    for each in (process, other):
        await each.breakers.note(taken)
        assert await opened(process) == [("modelark", FILM)]
    await other.breakers.note(taken.ended(State.RENDERED))
    assert await opened(process) == []


async def test_calls_that_fail_now_and_then_among_tasks_that_are_taken_open_nothing(process):
    [attempt] = first_attempts(ask().generation_id, 1, 1, "modelark", process.work.process, FILM)
    for _ in range(FAILURES_TO_OPEN + 1):
        await process.breakers.note(attempt.ended(State.FAILED, Unavailable().failure))
        await process.breakers.note(attempt.submitted(Task("cgt-1")))
    assert await opened(process) == []


async def test_how_a_task_ends_is_counted(process, simulator):
    await process.rows("UPDATE models SET p99_seconds = 10 WHERE id = :id RETURNING 1", id=FILM)
    await process.catalog.refresh()
    request = ask_film("[[sim:task-failed,latency=0.1]]", seconds=5)
    await process.generate(request)
    await process.finish()
    assert process.breakers._known["modelark", FILM].lost >= 1


async def test_what_is_refused_for_good_opens_nothing(process):
    for _ in range(FAILURES_TO_OPEN + 2):
        await process.generate(ask("[[sim:moderated]]"))
    assert await opened(process) == []


@pytest.mark.parametrize("failure", NEVER_ASKED)
async def test_what_was_never_asked_opens_nothing(process, failure):
    """It is tried again as what failed is."""
    [attempt] = first_attempts(ask().generation_id, 1, 1, "modelark", process.work.process, FILM)
    assert failure.code == Unavailable.code
    for _ in range(FAILURES_TO_OPEN):
        await process.breakers.note(attempt.ended(State.FAILED, failure))
    assert await opened(process) == [] and not process.breakers._known


@pytest.mark.parametrize("failure", [*NEVER_ASKED, Unreadable().failure])
async def test_what_was_never_asked_leaves_the_pause_and_the_trial_as_they_are(process, failure):
    await fail(process)
    model, breaker = process.catalog._models[CHEAP], process.breakers._known["modelark", CHEAP]
    [attempt] = first_attempts(ask().generation_id, 1, 1, "modelark", process.work.process, CHEAP)
    breaker.open_until = ends_at = time.monotonic() + 5
    await process.breakers.note(attempt.ended(State.FAILED, failure))
    assert breaker.open_until == ends_at, "nobody was let through yet"
    breaker.open_until = time.monotonic()
    assert process.breakers.worker(model) is not None and process.breakers.worker(model) is None
    await process.breakers.note(attempt.ended(State.FAILED, failure))
    assert process.breakers.worker(model) is not None


async def test_an_address_that_cannot_be_read_opens_nothing(process, simulator):
    """It is tried again, and fails for whoever named it alone."""
    async with answering(503, b"busy") as url, make_session(OutboundSettings(outbound_allow=url[7:])) as session:
        process.submitter._providers["openai"] = OpenAI(session, "key", simulator.url)
        given = (Input(role="image", url=f"{url}/a.png"),)
        requests = [ask(model=DEAR, size="1024x1024", inputs=given, seconds=30) for _ in range(FAILURES_TO_OPEN)]
        await asyncio.gather(*map(process.generate, requests))
    for request in requests:
        assert await process.attempts(request) == [(0, n, "failed", "input_unreadable") for n in (1, 2, 3)]
        assert (await process.outcome(request)).data.failure.code == "input_unreadable"
    assert await opened(process) == [] and not process.breakers._known


async def test_who_costs_the_same_stands_in(process, simulator):
    """Declared in the catalog; the record names who did it."""
    await fail(process, "flux-schnell")
    assert await opened(process) == [("fal", "flux-schnell")]
    request = ask(model="flux-schnell", size="1024x1024")
    await process.generate(request)
    await process.finish()
    assert (await process.rendered(request)).data.provider == "replicate"
    [call] = simulator.calls(request)
    assert call["provider"] == "replicate" and call["billed"] == 1
    [row] = await process.rows("SELECT model FROM attempts WHERE generation_id = :id", id=request.generation_id)
    assert row.model == "flux-schnell-replicate"


@pytest.mark.parametrize(("fault", "code"), [("quota", "provider_quota"), ("401", "provider_unauthorized")])
async def test_where_our_account_is_refused_who_stands_in_does_it_at_once(process, simulator, fault, code):
    """And is asked first then; where nobody stands in it is said at once, and nobody waits."""
    first, then, alone = (
        ask(f"[[sim:{fault}x1]]", model="flux-schnell"),
        ask(model="flux-schnell"),
        ask("[[sim:quota]]"),
    )
    for request in (first, then, alone):
        await process.generate(request)
        await process.finish()
    assert await process.attempts(first) == [(0, 1, "failed", code), (0, 2, "rendered", None)]
    assert [call["provider"] for call in simulator.calls(first)] == ["fal", "replicate"]
    assert [call["provider"] for call in simulator.calls(then)] == ["replicate"] and await process.rendered(then)
    assert (await process.outcome(alone)).data.failure.code == "provider_quota" and len(simulator.calls(alone)) == 1
    model = await process.catalog.find(then)
    assert process.breakers.worker(model, has_own=lambda provider: provider == "fal").provider == "fal"
    assert await opened(process) == []


async def test_a_users_own_account_that_is_refused_concerns_nobody_else(process):
    """Nor is anybody else's account used in its place."""
    [ours] = first_attempts(ask().generation_id, 1, 1, "fal", process.work.process, "flux-schnell")
    model = await process.catalog.find(ask(model="flux-schnell"))
    refused = replace(ours, own_key=True).ended(State.FAILED, QuotaExhausted().failure)
    await process.breakers.note(refused)
    assert process.breakers.worker(model).provider == "fal"
    assert standing([refused], "fail", stand_ins=["flux-schnell-replicate"]).again == ()
    again = standing([replace(refused, own_key=False)], "fail", stand_ins=["flux-schnell-replicate"]).again
    assert [attempt.model for attempt in again] == ["flux-schnell"]
