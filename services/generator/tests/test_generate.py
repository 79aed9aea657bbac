"""A funded generation on its way to `rendered` or an outcome, with the real provider, broker and database."""

import asyncio
import hashlib
import time

import aiohttp
import pytest

from contracts.facts import Verdict
from contracts.progress import Progress
from contracts.topology import CLAIMS_BUCKET, OUTCOMES, outcome_subject, progress_subject
from darkroom.topology.apply import apply
from generator.attempts import attempt_id
from runtime.broker import publish_unique

from .stage import CHEAP, DEAR, PAIR, ask, ended, until

pytestmark = pytest.mark.connected


async def test_one_picture_is_paid_once_and_its_address_travels_in_the_fact(process, simulator):
    """Promise 7; the attempt's id is told to the provider."""
    request = ask()
    await process.generate(request)
    fact = await process.rendered(request)
    assert fact.traceparent == PAIR
    assert fact.data.request == request and fact.data.provider == "modelark"
    [output] = fact.data.outputs
    assert output.index == 0 and output.url.startswith(simulator.url) and output.mime_type == "image/jpeg"
    [call] = simulator.calls(request)
    assert (call["billed"], call["status"]) == (1, 200)
    assert call["client_request_id"] == str(attempt_id(request.generation_id, 0, 1))
    assert await process.state(request) == "rendered"
    assert await process.attempts(request) == [(0, 1, "rendered", None)]


async def test_four_pictures_of_a_model_that_makes_one_at_a_time(process, simulator):
    request = ask(count=4)
    await process.generate(request)
    outputs = (await process.rendered(request)).data.outputs
    assert [output.index for output in outputs] == [0, 1, 2, 3]
    assert len({output.url for output in outputs}) == 4
    assert [call["billed"] for call in simulator.calls(request)] == [1, 1, 1, 1]


async def test_progress_is_told_while_it_renders(process):
    request = ask("[[sim:latency=0.2]]", count=2)
    subscription = await process.broker.connection.subscribe(progress_subject(request.generation_id))
    await process.generate(request)
    told = Progress.model_validate_json((await subscription.next_msg(timeout=2)).data)
    await subscription.unsubscribe()
    assert (told.percent, told.stage) == (10, "rendering")


async def test_three_of_four_are_rendered_and_the_fourth_says_why_not(process, simulator):
    request = ask("[[sim:fail-every=4]]", count=4)
    await process.generate(request)
    outputs = (await process.rendered(request)).data.outputs
    assert sorted(output.failure.code for output in outputs if output.failure) == ["content_policy"]
    assert sum(output.url is not None for output in outputs) == 3
    assert simulator.billed(request) == 3 and len(simulator.calls(request)) == 4
    assert await process.outcome(request) is None


async def test_three_of_four_in_one_call(process, simulator):
    request = ask("[[sim:partial=2]]", model=DEAR, count=4)
    await process.generate(request)
    outputs = (await process.rendered(request)).data.outputs
    assert [output.failure is None for output in outputs] == [True, True, True, False]
    assert len(simulator.calls(request)) == 1


async def test_nothing_delivered_is_a_failed_outcome(process, simulator):
    request = ask("[[sim:moderated]]", count=2)
    await process.generate(request)
    outcome = await process.outcome(request)
    assert outcome.data.verdict is Verdict.FAILED and outcome.data.failure.code == "content_policy"
    assert outcome.traceparent == PAIR
    assert simulator.billed(request) == 0 and len(simulator.calls(request)) == 2
    assert await process.state(request) == "closed"
    assert await process.rendered(request) is None


async def test_the_outcome_that_won_is_the_one_that_is_kept(process):
    """Promise 4."""
    request = ask("[[sim:moderated]]")
    theirs = ended(request)
    subject = outcome_subject(request.generation_id)
    await publish_unique(
        process.broker, subject, theirs.encode(), stream=OUTCOMES.name, content_type="application/json"
    )
    await process.generate(request)
    [row] = await process.rows(
        "SELECT outcome ->> 'id' AS id FROM work WHERE generation_id = :id", id=request.generation_id
    )
    assert row.id == str(theirs.id)


async def test_bytes_are_in_the_claims_before_it_counts_as_rendered(process, simulator):
    """Without the bucket nothing is rendered, and the paid result is not lost; with it everything goes on."""
    connection = process.broker.connection
    await connection.jetstream().delete_object_store(CLAIMS_BUCKET)
    request = ask(model=DEAR, count=2)
    running = process.begin(request)
    await until(lambda: simulator.billed(request) == 2)
    await asyncio.sleep(0.4)
    assert await process.state(request) == "open" and await process.rendered(request) is None
    await apply(connection)
    await running
    outputs = (await process.rendered(request)).data.outputs
    bucket = await connection.jetstream().object_store(CLAIMS_BUCKET)
    pictures = [(await bucket.get(output.claim)).data for output in outputs]
    assert outputs[1].claim == f"{attempt_id(request.generation_id, 0, 1)}-1"
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    assert len({hashlib.sha256(picture).digest() for picture in pictures}) == 2
    assert len(simulator.calls(request)) == 1


async def test_what_the_address_leads_to_is_a_picture(process):
    request = ask()
    await process.generate(request)
    url = (await process.rendered(request)).data.outputs[0].url
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200 and (await answer.read()).startswith(b"\xff\xd8")


async def test_f17_a_short_wait_is_waited_for_in_place(process, simulator):
    request = ask("[[sim:429x1=1]]")
    await process.generate(request)
    first, second = simulator.calls(request)
    assert second["time"] - first["time"] >= 1.0
    assert await process.attempts(request) == [(0, 1, "failed", "provider_throttled"), (0, 2, "rendered", None)]


async def test_f17_a_long_wait_is_waited_for_in_the_row(process, make_process, simulator):
    """The slot is free meanwhile; a message that comes again does not shorten the wait."""
    request = ask("[[sim:429x1=3.2]]")
    began_at = time.monotonic()
    await process.generate(request)
    assert time.monotonic() - began_at < 2
    await process.generate(request)
    other = await make_process()
    await other.take_due()
    assert len(simulator.calls(request)) == 1 and await process.state(request) == "open"

    async def taken_over():
        await other.take_due()
        return await process.rendered(request)

    await until(taken_over)
    first, second = simulator.calls(request)
    assert second["time"] - first["time"] >= 3.2 and simulator.billed(request) == 1
    assert len((await process.rendered(request)).data.outputs) == 1


async def test_a_wait_beyond_the_deadline_is_not_begun(process, simulator):
    request = ask("[[sim:429-absurd]]", seconds=30)
    await process.generate(request)
    assert (await process.outcome(request)).data.failure.code == "provider_throttled"
    assert len(simulator.calls(request)) == 1


async def test_f18_a_definite_failure_is_tried_three_times_and_no_more(process, simulator):
    request = ask("[[sim:500]]")
    await process.generate(request)
    assert len(simulator.calls(request)) == 3
    assert [attempt[2:] for attempt in await process.attempts(request)] == [("failed", "provider_unavailable")] * 3
    assert (await process.outcome(request)).data.failure.code == "provider_unavailable"


@pytest.mark.parametrize(("model", "calls"), [(DEAR, 1), (CHEAP, 2)])
async def test_f18_a_lost_answer_is_paid_again_only_where_the_model_says_so(process, simulator, model, calls):
    """P11: each attempt that may have been paid stands there as unknown."""
    request = ask("[[sim:lost]]", model=model)
    await process.generate(request)
    assert len(simulator.calls(request)) == calls
    assert [attempt[2] for attempt in await process.attempts(request)] == ["unknown"] * calls
    assert (await process.outcome(request)).data.failure.code == "provider_unknown"


async def test_a_lost_answer_of_a_cheap_model_is_cured(process, simulator):
    request = ask("[[sim:lostx1]]")
    await process.generate(request)
    assert [attempt[2] for attempt in await process.attempts(request)] == ["unknown", "rendered"]
    assert simulator.billed(request) == 2
    assert len((await process.rendered(request)).data.outputs) == 1


async def test_f19_a_silent_provider_is_left_before_the_deadline(process, simulator):
    request = ask("[[sim:hang]]", model=DEAR, seconds=2.5)
    began_at = time.monotonic()
    await process.generate(request)
    assert time.monotonic() - began_at < 2.5
    assert (await process.outcome(request)).data.failure.code == "provider_unknown"


async def test_f19_what_waited_for_a_connection_until_its_time_was_over_is_not_sent(process, simulator):
    """Less than no time would be taken for as long as it likes."""
    await process.rows("UPDATE models SET deadline_seconds = 1 WHERE id = :id RETURNING 1", id=DEAR)
    await process.catalog.refresh()
    process.submitter._connections = asyncio.Semaphore(0)
    request = ask(model=DEAR)
    try:
        running = process.begin(request)
        await asyncio.sleep(1.2)
        process.submitter._connections.release()
        await running
    finally:
        await process.rows("UPDATE models SET deadline_seconds = 480 WHERE id = :id RETURNING 1", id=DEAR)
    assert simulator.calls(request) == [] and await process.attempts(request) == [(0, 1, "failed", "deadline")]


async def test_past_its_deadline_nothing_is_begun(process, simulator):
    request = ask(seconds=0.5)
    await process.generate(request)
    assert simulator.calls(request) == [] and await process.attempts(request) == []
    assert (await process.outcome(request)).data.failure.code == "deadline"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"model": "no-such-model"}, "invalid_request"),
        ({"count": 5}, "invalid_request"),
        ({"size": "7x7"}, "invalid_request"),
    ],
)
async def test_what_is_not_offered_fails_unpaid(process, simulator, changes, code):
    request = ask(**changes)
    await process.generate(request)
    assert (await process.outcome(request)).data.failure.code == code
    assert simulator.billed(request) == 0


async def test_several_in_one_model_keep_what_arrived_while_one_is_slow(process, simulator):
    """What is paid is recorded as soon as it is there, not with the last."""
    request = ask("[[sim:latencyx1=1.5]]", count=3)
    running = process.begin(request)

    async def two_are_kept():
        states = sorted(attempt[2] for attempt in await process.attempts(request))
        return states == ["intent", "rendered", "rendered"]

    await until(two_are_kept)
    assert not running.done()
    await running
    assert len((await process.rendered(request)).data.outputs) == 3 and simulator.billed(request) == 3
