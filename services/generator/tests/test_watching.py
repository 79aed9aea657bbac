"""What the generator tells of the attempts at one generation, and how its providers do."""

from uuid import uuid4

import pytest

from contracts.watching import CourseOf, FiguresOf
from generator.watching import course, figures

from .stage import ask

pytestmark = pytest.mark.connected


async def test_attempts_are_told_with_their_codes_and_counted_by_provider(process):
    request = ask("A lighthouse")
    refused = ask(f"{uuid4()} [[sim:moderated]]")
    for each in (request, refused):
        await process.begin(each)
    (moment,) = (await course(process.database, CourseOf(generation_id=request.generation_id))).moments
    assert (moment.step, moment.state, moment.number, moment.code) == ("attempt", "rendered", 1, None)
    assert moment.provider
    assert moment.at <= moment.ended_at
    (failed,) = (await course(process.database, CourseOf(generation_id=refused.generation_id))).moments
    assert (failed.state, failed.code) == ("failed", "content_policy")
    assert (await course(process.database, CourseOf(generation_id=uuid4()))).moments == ()
    seen = await figures(process.database, FiguresOf(minutes=5))
    (provider,) = [each for each in seen.providers if each.provider == moment.provider]
    assert provider.rendered >= 1
    assert provider.failed >= 1
    assert 0 <= provider.p50_seconds <= provider.p95_seconds


async def test_what_is_unknown_and_who_is_left_alone_is_listed(process):
    request = ask("[[sim:latency=1]]")
    working = process.begin(request)
    while not await process.attempts(request):
        pass
    await process.rows("UPDATE attempts SET state = 'unknown', ended_at = now() RETURNING id")
    opened = "INSERT INTO breakers (provider, model, open_until) VALUES ('openai', 'x', now() + interval '1 minute')"
    await process.rows(opened + " RETURNING model")
    seen = await figures(process.database, FiguresOf(minutes=5))
    assert seen.open_work == 1
    assert {each.generation_id for each in seen.unknown} == {request.generation_id}
    assert [(each.provider, each.model) for each in seen.breakers] == [("openai", "x")]
    working.cancel()
    await process.rows("DELETE FROM breakers RETURNING model")
    await process.rows("UPDATE work SET state = 'closed', outcome = '{}' RETURNING generation_id")
