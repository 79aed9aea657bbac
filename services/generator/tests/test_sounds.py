"""The sound of a film: taken out of it, decodable, as long as the film; a silent film has none."""

import io
import math
from array import array
from dataclasses import replace
from itertools import pairwise

import aiohttp
import av
import pytest
from PIL import Image

from contracts.facts import Input, Kind, Verdict
from generator.claims import Claims
from generator.composition import extraction
from generator.providers.darkroom import NAME, Darkroom
from generator.providers.interface import Given, Invalid

from .stage import ask
from .test_composition import PLAYLIST, submission

SOUND = "darkroom-sound"
RATE = 48_000


def film(seconds=1.5, *, hz=440, form="mp4", video="libx264", audio="aac"):
    """A film of one colour with one tone, or without."""
    content = io.BytesIO()
    with av.open(content, "w", format=form) as made:
        pictures = made.add_stream(video, rate=10)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 64, "yuv420p"
        heard = made.add_stream(audio, rate=RATE, layout="stereo") if audio else None
        still = Image.new("RGB", (64, 64), "navy")
        for number in range(int(seconds * 10)):
            made.mux(pictures.encode(av.VideoFrame.from_image(still)))
            if heard is not None:
                made.mux(heard.encode(_tone(hz, number * RATE // 10)))
        for stream in filter(None, (pictures, heard)):
            made.mux(stream.encode(None))
    return content.getvalue()


def _tone(hz, start):
    samples = range(start, start + RATE // 10)
    swing = array("f", (0.5 * math.sin(2 * math.pi * hz * sample / RATE) for sample in samples))
    frame = av.AudioFrame(format="fltp", layout="stereo", samples=len(swing))
    for plane in frame.planes:
        plane.update(swing.tobytes())
    frame.sample_rate, frame.pts = RATE, start
    return frame


def listen(content):
    """Codec, seconds, and how high its tone is."""
    with av.open(io.BytesIO(content)) as container:
        assert not container.streams.video
        name = container.streams.audio[0].codec_context.name
        swing = array("f")
        for frame in container.decode(audio=0):
            swing.frombytes(bytes(frame.planes[0])[: 4 * frame.samples])
    signs = [value > 0 for value in swing if abs(value) > 0.1]  # what is nearly silent rises by chance
    rises = sum(after > before for before, after in pairwise(signs))
    return name, len(swing) / RATE, rises * RATE / len(swing)


@pytest.fixture
async def maker():
    async with aiohttp.ClientSession() as session:
        yield Darkroom(session)


def asked(content):
    given = Given("video", content=content, mime_type="video/mp4")
    return replace(submission(given, size=None), kind=Kind.SPEECH)


@pytest.mark.parametrize(
    ("form", "video", "audio"), [("mp4", "libx264", "aac"), ("mov", "libx264", "pcm_s16le"), ("webm", "vp8", "opus")]
)
async def test_the_sound_is_what_was_heard_in_the_film(maker, form, video, audio):
    [item] = await maker.submit(asked(film(hz=660, form=form, video=video, audio=audio)))
    name, seconds, hz = listen(item.content)
    assert (item.mime_type, name) == ("audio/mpeg", "mp3float")
    assert seconds == pytest.approx(1.5, abs=0.1) and hz == pytest.approx(660, rel=0.08)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (film(0.3, audio=None), "nothing to hear"),
        (film(0.5)[:-3000], "cannot be made"),
        (b"ftyp" * 500, "cannot be made"),
        (b"\x00\x00\x00\x18ftypmp42" + bytes(4000), "cannot be made"),
        (PLAYLIST, "cannot be made"),
        (b"", "cannot be made"),
    ],
    ids=["silent", "cut off", "no film", "a head alone", "playlist", "empty"],
)
async def test_what_has_no_sound_is_refused_for_good(maker, content, why):
    with pytest.raises(Invalid, match=why) as refused:
        await maker.submit(asked(content))
    assert "passwd" not in str(refused.value) and "/tmp" not in str(refused.value)


def test_one_that_is_too_long_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "MAX_SECONDS", 1)
    (tmp_path / extraction.FILM).write_bytes(film(1.5))
    with pytest.raises(extraction.Unusable, match="longer than 1 seconds"):
        extraction.extract(tmp_path)


async def test_without_a_film_there_is_no_sound(maker):
    with pytest.raises(Invalid, match="out of a film"):
        await maker.submit(replace(asked(b""), given=()))


@pytest.mark.connected
async def test_it_is_a_generation_of_speech_that_costs_nobody_a_call(process, simulator):
    """What storage would fetch can be played; a silent film fails for good and says why."""
    claims = Claims(process.broker)
    await claims.put("a-film", film(hz=880))
    await claims.put("a-silent-film", film(0.3, audio=None))
    loud, silent = (
        ask("The sound of a film.", model=SOUND, kind=Kind.SPEECH, size=None).model_copy(
            update={"inputs": (Input(role="video", claim=name, mime_type="video/mp4"),)}
        )
        for name in ("a-film", "a-silent-film")
    )
    await process.generate(loud)
    await process.generate(silent)
    rendered = (await process.rendered(loud)).data
    [output] = rendered.outputs
    assert (rendered.provider, output.mime_type) == (NAME, "audio/mpeg")
    [given] = await claims.given(loud.user_id, [Input(role="audio", claim=output.claim)])
    assert listen(given.content)[2] == pytest.approx(880, rel=0.08)
    ending = (await process.outcome(silent)).data
    assert (ending.verdict, ending.failure.code) == (Verdict.FAILED, "invalid_request")
    assert "nothing to hear" in ending.failure.message
    assert simulator.calls(loud) == simulator.calls(silent) == []
