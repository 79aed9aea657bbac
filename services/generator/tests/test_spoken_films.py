"""Films in two steps: the speech is paid once, whatever happens to the film that is made of it."""

import asyncio
import io
from datetime import UTC, datetime, timedelta

import av
import pytest

from contracts.facts import Input, Kind, Output, Verdict
from contracts.questions import SwitchModel
from generator.attempts import Attempt, State, standing
from generator.breakers import FAILURES_TO_OPEN, _Breaker
from generator.claims import Claims
from generator.composition.plan import Plan
from generator.providers import darkroom
from generator.providers.darkroom import NAME
from generator.providers.interface import Unavailable
from generator.steps import made, next_step, voice_of

from .stage import ask, ended, until
from .test_composition import picture, png_of, sound

pytestmark = pytest.mark.connected
AVATAR = "darkroom-avatar"
VOICE = "gpt-4o-mini-tts"
SCRIPT = "A boat."


@pytest.fixture
async def give(process):
    """Leaves bytes for a generation to start from."""

    async def give(role, content, name=None, mime_type="image/png"):
        name = name or f"{role}-{id(content)}"
        await Claims(process.broker).put(name, content)
        return Input(role=role, claim=name, mime_type=mime_type)

    return give


@pytest.fixture
async def still(give):
    return await give("image", picture())


def ask_avatar(*inputs, words=SCRIPT, size="96x128", **options):
    """A small one: what it costs to make grows with its size."""
    options = {"quality": "draft"} | options
    return ask(words, model=AVATAR, kind=Kind.VIDEO, size=size, inputs=inputs, options=options)


async def film_of(process, request):
    """What storage would fetch, as a player sees it: codecs, size, seconds."""
    rendered = (await process.rendered(request)).data
    [output] = rendered.outputs
    assert rendered.provider == NAME and output.mime_type == "video/mp4"
    [given] = await Claims(process.broker).given(
        request.user_id, [Input(role="video", claim=output.claim, mime_type="video/mp4")]
    )
    with av.open(io.BytesIO(given.content)) as container:
        video, audio = container.streams.video[0].codec_context, container.streams.audio[0].codec_context
        return (video.name, audio.name), (video.width, video.height), container.duration / av.time_base


async def speech_of(process, request):
    """What was said, in seconds."""
    [row] = await process.rows(
        "SELECT result -> 0 ->> 'claim' AS claim FROM attempts WHERE generation_id = :id AND kind = 'speech' "
        "AND state = 'rendered'",
        id=request.generation_id,
    )
    [given] = await Claims(process.broker).given(request.user_id, [Input(role="audio", claim=row.claim)])
    with av.open(io.BytesIO(given.content)) as container:
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


async def steps(process, request):
    """(item, number, provider, what it makes, state) of each attempt."""
    rows = await process.rows(
        "SELECT item, number, provider, kind, state FROM attempts WHERE generation_id = :id ORDER BY item, number",
        id=request.generation_id,
    )
    return [tuple(row) for row in rows]


SPOKEN = (0, 1, "openai", "speech", "rendered")
SHOWN = (1, 1, NAME, None, "rendered")


async def test_a_script_and_a_picture_become_a_film(process, simulator, still):
    request = ask_avatar(still)
    await process.generate(request)
    codecs, size, seconds = await film_of(process, request)
    assert codecs == ("h264", "aac") and size == (96, 128)
    assert seconds == pytest.approx(await speech_of(process, request), abs=0.3)
    assert await steps(process, request) == [SPOKEN, SHOWN]
    [call] = simulator.calls(request)
    assert (call["provider"], call["model"], call["billed"]) == ("openai", VOICE, 1)
    assert await process.rendered_times(request) == 1
    await process.generate(request)
    assert len(simulator.calls(request)) == 1 and await process.rendered_times(request) == 2


async def test_another_voice_is_another_provider_s(process, simulator, still):
    """Whoever has the voice speaks; in what form it is handed on is nobody's choice."""
    request = ask_avatar(still, voice="EXAVITQu4vr4xnSDxMaL", output_format="pcm_16000")
    await process.generate(request)
    [call] = simulator.calls(request)
    assert (call["provider"], call["model"]) == ("elevenlabs", "eleven_multilingual_v2")
    assert (await film_of(process, request))[0] == ("h264", "aac")


async def test_a_sound_that_is_given_is_not_spoken_again(process, simulator, still, give):
    heard = await give("audio", sound(1.2), mime_type="audio/wav")
    request = ask_avatar(still, heard, size="128x96")
    await process.generate(request)
    _, size, seconds = await film_of(process, request)
    assert size == (128, 96) and seconds == pytest.approx(1.2, abs=0.3)
    assert simulator.calls(request) == []
    assert await steps(process, request) == [(0, 1, NAME, None, "rendered")]


@pytest.mark.parametrize(("options", "written"), [({}, True), ({"captions": False}, False)])
async def test_what_is_spoken_is_written_unless_nobody_wants_that(process, still, give, monkeypatch, options, written):
    scripts = []
    monkeypatch.setattr(darkroom, "Plan", lambda **plan: scripts.append(plan["script"]) or Plan(**plan))
    spoken = ask_avatar(still, **options)
    given = ask_avatar(still, await give("audio", sound(0.2)), **options)
    await process.generate(spoken)
    await process.generate(given)
    assert scripts == [spoken.prompt if written else None, None]


async def test_a_cancel_between_the_steps_begins_no_film(process, simulator, still):
    request = ask_avatar(still)
    save = process.work.save

    async def cancelled_before_the_film(lease, attempts, begun=(), **others):
        if any(attempt.kind is None for attempt in begun):
            await process.generator.close([ended(request)])
        return await save(lease, attempts, begun, **others)

    process.work.save = cancelled_before_the_film
    await process.generate(request)
    assert await process.state(request) == "closed" and await process.rendered_times(request) == 0
    [(item, _, provider, kind, _)] = await steps(process, request)
    assert (item, provider, kind) == (0, "openai", "speech") and len(simulator.calls(request)) == 1


async def test_a_cancel_while_the_film_is_made_ends_its_process(process, simulator, still):
    """Nothing about it is unknown: nobody was paid for it."""
    request = ask_avatar(still, size="1080x1920")
    making = process.begin(request)
    await until(lambda: begun(process, request), 30)
    await process.generator.close([ended(request)])
    await asyncio.wait_for(making, 30)
    assert await steps(process, request) == [SPOKEN, (1, 1, NAME, None, "failed")]
    assert await process.rendered_times(request) == 0


async def begun(process, request):
    return len(await steps(process, request)) == 2


async def test_a_process_that_is_told_to_stop_leaves_the_film_to_another(make_process, simulator, still):
    stopping, other = await make_process(), await make_process()
    request = ask_avatar(still, size="1080x1920")  # which takes long enough to be stopped at
    making = stopping.begin(request)
    await until(lambda: begun(stopping, request), 30)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    await other.take_due()
    assert [step[4] for step in await steps(other, request)] == ["rendered", "failed", "rendered"]
    assert len(simulator.calls(request)) == 1 and await other.rendered_times(request) == 1


async def test_a_bomb_fails_its_generation_alone(process, simulator, give):
    bad, good = ask_avatar(await give("image", png_of(50_000, 50_000))), ask_avatar(await give("image", picture()))
    await asyncio.gather(process.generate(bad), process.generate(good))
    failure = (await process.outcome(bad)).data.failure
    assert failure.code == "invalid_request" and "pixels" in failure.message
    assert [step[4] for step in await steps(process, bad)] == ["rendered", "failed"]
    assert await process.rendered_times(good) == 1


async def test_without_the_speech_there_is_no_film(process, simulator, still):
    """What the vendor refuses for good is the generation's failure; what it may do later is tried again."""
    refused, later = ask_avatar(still, words="[[sim:moderated]]"), ask_avatar(still, words="[[sim:429x1]]")
    await asyncio.gather(process.generate(refused), process.generate(later))
    assert (await process.outcome(refused)).data.verdict is Verdict.FAILED
    assert {step[3] for step in await steps(process, refused)} == {"speech"}
    assert [step[3:] for step in await steps(process, later)] == [
        ("speech", "failed"),
        ("speech", "rendered"),
        (None, "rendered"),
    ]
    assert simulator.billed(later) == 1


async def test_a_voice_that_was_switched_off_meanwhile_speaks_what_it_has_begun(
    process, make_process, simulator, still
):
    """Nobody else is asked for the speech, least of all whoever makes the film."""
    request, other = ask_avatar(still, words="[[sim:429-absurdx1]]"), await make_process()
    await process.generate(request)
    await other.catalog.switch(SwitchModel(id=VOICE, on=False))
    query = "UPDATE work SET not_before = now() WHERE generation_id = :id RETURNING 1"
    await process.rows(query, id=request.generation_id)
    await other.generate(request)
    await other.catalog.switch(SwitchModel(id=VOICE, on=True))
    assert await steps(process, request) == [
        (0, 1, "openai", "speech", "failed"),
        (0, 2, "openai", "speech", "rendered"),
        SHOWN,
    ]


async def test_what_was_spoken_is_told_by_its_place_and_never_as_the_film(process, still):
    """Of the rows alone: a speech is no output, and its failure is the film's."""
    model = await process.catalog.find(ask_avatar(still))
    request = ask_avatar(still)
    voice = voice_of(request, model)
    assert voice.id == VOICE and voice_of(ask_avatar(still, Input(role="audio", url="https://a")), model) is None
    [spoken] = await first_of(process, request, model)
    assert next_step(request, model, [spoken], spoken.process) is None
    said = spoken.rendered((Output(index=0, claim="a", mime_type="audio/mpeg"),))
    assert standing([said], "fail").outputs == () and not standing([said], "fail").delivered
    assert made([said]) == (Input(role="audio", claim="a", mime_type="audio/mpeg"),)
    film = next_step(request, model, [said], spoken.process)
    assert (film.item, film.kind, film.provider) == (1, None, NAME)
    assert next_step(request, model, [said, film], spoken.process) is None
    lost = spoken.ended(State.FAILED, Unavailable().failure)
    assert standing([lost], "fail", time_left=False).outputs[0].failure == Unavailable().failure
    assert isinstance(film, Attempt)


async def first_of(process, request, model):
    return await process.generator._driver.admission.first(request, model)


async def test_what_was_spoken_waits_while_whoever_makes_the_film_is_left_alone(process, simulator, still, monkeypatch):
    """It was paid; and who speaks is not left alone."""
    made = process.submitter._providers[NAME].submit
    refusals = iter([Unavailable()])

    async def failing_once(submission):
        if (refusal := next(refusals, None)) is not None:
            raise refusal
        return await made(submission)

    monkeypatch.setattr(process.submitter._providers[NAME], "submit", failing_once)
    process.breakers._known[NAME, AVATAR] = _Breaker(failures=FAILURES_TO_OPEN - 1)
    request = ask_avatar(still).model_copy(update={"deadline_at": datetime.now(UTC) + timedelta(minutes=10)})
    await process.generate(request)
    assert await process.state(request) == "open"
    process.breakers._known[NAME, AVATAR].open_until = 0
    await process.rows("UPDATE work SET not_before = now() WHERE state = 'open' RETURNING 1")
    await process.take_due()
    assert await steps(process, request) == [SPOKEN, (1, 1, NAME, None, "failed"), (1, 2, NAME, None, "rendered")]
    assert len(simulator.calls(request)) == 1


async def test_who_has_spoken_speaks_for_others_while_the_film_is_made(process, still, monkeypatch):
    """It has one place, and films wait for each other."""
    begun, goes_on = asyncio.Event(), asyncio.Event()
    made = process.submitter._providers[NAME].submit

    async def late(submission):
        begun.set()
        await goes_on.wait()
        return await made(submission)

    monkeypatch.setattr(process.submitter._providers[NAME], "submit", late)
    await process.rows("INSERT INTO limits (provider, max_running) VALUES ('openai', 1) RETURNING 1")
    await process.limits.refresh()
    request, other = ask_avatar(still), ask("A boat.", model=VOICE, kind=Kind.SPEECH, size=None)
    running = process.begin(request)
    try:
        await asyncio.wait_for(begun.wait(), 10)
        await process.generate(other)
        assert await steps(process, other) == [(0, 1, "openai", None, "rendered")]
    finally:
        await process.rows("DELETE FROM limits RETURNING 1")
        await process.limits.refresh()
        goes_on.set()
        await running
    assert await steps(process, request) == [SPOKEN, SHOWN]


async def test_what_was_spoken_is_written_down_before_anything_else_that_the_database_may_miss(
    process, simulator, still, monkeypatch
):
    """It was paid for, and who goes on does not ask for it again."""
    save, is_away = process.work.save, False

    async def leave(*_):
        nonlocal is_away
        is_away = True
        raise ConnectionError

    async def save_or_fail(*arguments, **others):
        if is_away:
            raise ConnectionError
        return await save(*arguments, **others)

    request = ask_avatar(still)
    with monkeypatch.context() as patched:
        patched.setattr(process.limits, "leave", leave)
        patched.setattr(process.work, "save", save_or_fail)
        with pytest.raises(ConnectionError):
            await process.generate(request)
    assert (await steps(process, request))[0] == SPOKEN
    await process.generate(request)
    assert await steps(process, request) == [SPOKEN, SHOWN]
    assert len(simulator.calls(request)) == 1
