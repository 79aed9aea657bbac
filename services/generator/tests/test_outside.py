"""A renderer of the operator's own finishes what the generator works on; a client names the task that it follows."""

from dataclasses import replace
from uuid import uuid4

import pytest

from contracts.facts import Kind, Output, Verdict
from contracts.tasks import LookAtTask, TakeResult
from generator.attempts import State, attempt_id, first_attempts
from generator.callbacks import Callbacks
from generator.outside import Outside

from .stage import FILM, ask_film, ended

pytestmark = pytest.mark.connected
URL = "https://renderer.example/film.mp4"


@pytest.fixture
async def outside(process):
    await process.rows("UPDATE models SET p99_seconds = 10 WHERE id = :id RETURNING 1", id=FILM)
    await process.catalog.refresh()
    callbacks = Callbacks(process.catalog, process.follower, process.broker, {}, None)
    return Outside(process.work, process.generator, process.announcer, callbacks)


async def take(outside, request):
    return (await outside.take_result(TakeResult(generation_id=request.generation_id, url=URL))).state


async def test_its_result_is_rendered_and_the_task_is_not_waited_for(process, outside):
    request = ask_film("[[sim:latency=600]]")
    await process.generate(request)
    assert len(process.follower) == 1
    assert await take(outside, request) == "taken"
    [output] = (await process.rendered(request)).data.outputs
    assert output.url == URL
    assert len(process.follower) == 0
    assert await process.attempts(request) == [(0, 1, "submitted", None), (0, 2, "rendered", None)]
    # Said again, by whoever asks for it again and by whoever drives it.
    assert await take(outside, request) == "taken"
    await process.generate(request)
    assert [each.url for each in (await process.rendered(request)).data.outputs] == [URL]
    assert len(await process.attempts(request)) == 2


async def test_a_worker_that_comes_later_changes_nothing(process, outside, make_process):
    request = ask_film("[[sim:latency=0.3]]")
    await process.generate(request)
    other = await make_process()
    late = Outside(other.work, other.generator, other.announcer, None)
    assert await take(late, request) == "taken"
    await process.finish()
    assert [each.url for each in (await process.rendered(request)).data.outputs] == [URL]


async def test_what_was_being_asked_for_meanwhile_ends_with_the_outcome(process, outside):
    """As if another process had just written that it is about to pay."""
    request = ask_film("x")
    first = first_attempts(request.generation_id, 1, 1, "modelark", uuid4(), FILM)
    lease = await process.work.claim(request, None, first)
    assert await take(outside, request) == "taken"
    assert not await process.work.save(lease, [first[0].ended(State.RENDERED)])
    await process.generator.close([ended(request, Verdict.COMPLETED)])
    assert [(number, state) for _, number, state, _ in await process.attempts(request)] == [
        (1, "unknown"),
        (2, "rendered"),
    ]


async def test_its_result_counts_in_the_place_of_the_step_that_was_to_make_it(process, outside):
    """A film in two steps: what is said in it was spoken, and the film had just begun."""
    request = ask_film("x", model="darkroom-avatar")
    [voice] = first_attempts(request.generation_id, 1, 1, "openai", process.work.process, "gpt-4o-mini-tts")
    voice = replace(voice, kind=Kind.SPEECH)
    film = replace(voice, id=attempt_id(request.generation_id, 1, 1), item=1, provider="darkroom", kind=None)
    lease = await process.work.claim(request, None, [voice])
    assert await process.work.save(lease, [voice.rendered((Output(index=0, claim="speech"),))], [film])
    assert await take(outside, request) == "taken"
    assert (await process.rendered(request)).data.outputs == (Output(index=0, url=URL),)


async def test_what_is_over_stays_as_it_is(process, outside):
    request = ask_film("[[sim:latency=0.2]]")
    await process.generate(request)
    await process.finish()
    assert await take(outside, request) == "finished"
    [output] = (await process.rendered(request)).data.outputs
    assert output.url != URL
    closed = ask_film("x")
    await process.generator.close([ended(closed, Verdict.CANCELLED)])
    assert await take(outside, closed) == "finished"
    assert await process.rendered(closed) is None


async def test_what_is_not_funded_waits_for_no_result(process, outside):
    assert await take(outside, ask_film("x")) == "unknown"


async def test_a_task_is_known_by_its_names(process, outside):
    request = ask_film("[[sim:latency=600]]")
    await process.generate(request)
    await process.rows(
        "UPDATE attempts SET task = 'operations/7#scene-1' WHERE generation_id = :id RETURNING 1",
        id=request.generation_id,
    )
    for names, is_known in [
        (("operations/7",), True),
        (("operations/7", "scene-1"), True),
        (("operations/7#scene-1",), True),
        (("operations/7", "scene-2"), False),
        (("operations",), False),
    ]:
        asked = LookAtTask(generation_id=request.generation_id, names=names)
        assert (await outside.look_at_task(asked)).is_known is is_known
    assert not (await outside.look_at_task(LookAtTask(generation_id=uuid4(), names=("operations/7",)))).is_known
