"""Films of still pictures and sound: MP4s that play, with captions over the speech; nothing hostile gets far."""

import asyncio
import io
import math
import os
import struct
import sys
import tempfile
import wave
import zlib
from array import array
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import aiohttp
import av
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from PIL import Image

from contracts.facts import Kind
from generator.composition.captions import MAX_LETTERS, at, captions
from generator.composition.lettering import font_for, letter
from generator.composition.plan import MAX_SECONDS
from generator.composition.stills import CYCLE_SECONDS, NEAREST, window
from generator.providers.darkroom import Darkroom
from generator.providers.interface import Given, Invalid, Submission, Unavailable

from .stage import until

SCRIPT = "The lighthouse stands alone. Waves break over the rocks, and nobody sleeps tonight!"


def sound(seconds=2.0, rate=24_000, loud=True):
    """A tone, as WAV."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        samples = int(seconds * rate)
        tone = (int(9000 * math.sin(number / 20)) for number in range(samples))
        file.writeframes(array("h", tone).tobytes() if loud else bytes(2 * samples))
    return content.getvalue()


def spoken(seconds, rate=24_000):
    """The same as an MP3, with a title."""
    content = io.BytesIO()
    with av.open(io.BytesIO(sound(seconds, rate))) as tone, av.open(content, "w", format="mp3") as made:
        made.metadata["title"] = "a tone"
        stream = made.add_stream("libmp3lame", rate=rate, layout="mono")
        for frame in (*tone.decode(audio=0), None):
            made.mux(stream.encode(frame))
    return content.getvalue()


def picture(width=300, height=200, colour=None, format_="PNG", mode="RGB"):
    """Something to see everywhere, or one colour."""
    image = Image.effect_mandelbrot((width, height), (-2, -1.2, 0.6, 1.2), 40).convert("RGB")
    if colour is not None:
        image = Image.new(mode, (width, height), colour)
    content = io.BytesIO()
    image.save(content, format_)
    return content.getvalue()


def still(content=None, role="image"):
    return Given(role, content=content or picture(), mime_type="image/png")


def heard(content):
    return Given("audio", content=content, mime_type="audio/wav")


def submission(*given, size="180x320", prompt=SCRIPT, seconds=60.0, **options):
    return Submission(
        reference=uuid4(),
        kind=Kind.VIDEO,
        model="darkroom-avatar",
        prompt=prompt,
        count=1,
        first_index=0,
        size=size,
        options={"captions": True} | options,
        timeout_seconds=seconds,
        given=given,
    )


@pytest.fixture
async def maker():
    async with aiohttp.ClientSession() as session:
        yield Darkroom(session)


async def film_of(maker, *given, **others):
    [item] = await maker.submit(submission(*given, **others))
    assert item.mime_type == "video/mp4"
    return Film(item.content)


class Film:
    """An MP4 as a player sees it."""

    def __init__(self, content):
        self.content = content
        with av.open(io.BytesIO(content)) as container:
            [video], [audio] = container.streams.video, container.streams.audio
            self.codecs = video.codec_context.name, audio.codec_context.name, video.codec_context.pix_fmt
            self.seconds = container.duration / av.time_base
            self.frames = [frame.to_image() for frame in container.decode(video=0)]
        with av.open(io.BytesIO(content)) as container:
            self.samples = sum(frame.samples for frame in container.decode(audio=0)) / 48_000
        self.size = self.frames[0].size


def difference(one, other, box=None):
    """Of their light, on average; 0 to 255."""
    first, second = (image.convert("L").crop(box) if box else image.convert("L") for image in (one, other))
    pairs = zip(first.tobytes(), second.tobytes(), strict=True)
    return sum(abs(a - b) for a, b in pairs) / (first.width * first.height)


LOWER = (0, 200, 180, 300)


async def test_a_picture_and_a_sound_make_a_film_that_plays(maker):
    """H.264 and AAC, of the size asked for, as long as the sound, moving, and playable before it is whole."""
    film = await film_of(maker, still(), heard(sound(2.2)))
    assert film.codecs == ("h264", "aac", "yuv420p") and film.size == (180, 320)
    assert film.seconds == pytest.approx(2.2, abs=0.3) and film.samples == pytest.approx(2.2, abs=0.1)
    assert len(film.frames) == 55
    assert difference(film.frames[0], film.frames[25]) > 1 < difference(film.frames[25], film.frames[50])
    steps = [difference(one, other) for one, other in pairwise(film.frames)]
    assert max(steps) < 12, "nothing jumps but a caption"
    assert film.content.index(b"moov") < film.content.index(b"mdat")


@pytest.mark.parametrize("rate", [24_000, 44_100])
async def test_sounds_that_were_joined_are_heard_to_the_end(maker, rate):
    """As storage keeps them: an MP3 behind another, with its own title, and perhaps of another rate."""
    film = await film_of(maker, still(), heard(spoken(1.0) + spoken(1.0, rate)))
    assert film.samples == pytest.approx(2.0, abs=0.2)


@pytest.mark.parametrize("zeros", [3, 4000])
async def test_what_fills_the_end_of_a_sound_is_nothing_to_hear(maker, zeros):
    film = await film_of(maker, still(), heard(spoken(1.0) + bytes(zeros)))
    assert film.samples == pytest.approx(1.0, abs=0.2)


async def test_captions_follow_the_speech(maker):
    plain, written = await asyncio.gather(
        film_of(maker, still(picture(colour="teal")), heard(sound(3)), captions=False),
        film_of(maker, still(picture(colour="teal")), heard(sound(3))),
    )
    assert max(difference(frame, plain.frames[0], LOWER) for frame in plain.frames) < 2
    first, second = written.frames[5], written.frames[-5]
    assert difference(first, plain.frames[5], LOWER) > 4 < difference(second, plain.frames[-5], LOWER)
    assert difference(first, second, LOWER) > 4
    changes = [difference(a, b, LOWER) > 3 for a, b in pairwise(written.frames)]
    shown = captions(SCRIPT, 3)
    at_frames = [number for number, changed in enumerate(changes, 1) if changed]
    assert at_frames == [pytest.approx(caption.start * 25, abs=1.1) for caption in shown[1:]]


@pytest.mark.parametrize(("size", "quality"), [("320x180", "draft"), ("180x180", "high")])
async def test_wide_and_square_at_every_quality(maker, size, quality):
    film = await film_of(maker, still(picture(90, 900, format_="JPEG")), heard(sound(0.4)), size=size, quality=quality)
    assert "x".join(map(str, film.size)) == size and film.codecs[0] == "h264"


async def test_several_pictures_follow_each_other_softly(maker):
    stills = [still(picture(colour=colour)) for colour in ("red", "lime", "blue")]
    film = await film_of(maker, *stills, heard(sound(3)), captions=False)
    seen = [film.frames[number].getpixel((90, 100)) for number in (5, 37, 70)]
    assert [max(range(3), key=colour.__getitem__) for colour in seen] == [0, 1, 2]
    between = film.frames[20].getpixel((90, 100))
    assert min(between[0], between[1]) > 40, between


@pytest.mark.parametrize("mode", ["RGBA", "LA", "CMYK", "P"])
async def test_pictures_of_every_mode(maker, mode):
    image = Image.new("RGBA", (64, 64), (200, 40, 40, 128)).convert(mode if mode not in {"CMYK", "P"} else "RGB")
    image = image.convert(mode)
    content = io.BytesIO()
    image.save(content, "JPEG" if mode == "CMYK" else "PNG")
    film = await film_of(maker, still(content.getvalue()), heard(sound(0.2)), size="64x64")
    assert film.size == (64, 64)


def png_of(width, height):
    """A PNG that says to be so large, in a few hundred bytes."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    ("image", "audio"),
    [
        (png_of(50_000, 50_000), None),
        (png_of(900, 900), None),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", None),
        (picture()[:-200], None),
        (None, PLAYLIST),
        (None, b"ffconcat version 1.0\nfile /etc/passwd\n"),
        (None, b"RIFF\x24\x00\x00\x00WAVE" + bytes(20)),
        (None, sound(0)),
        (None, b"ID3" + bytes(3000)),
        (None, sound(MAX_SECONDS + 1, rate=8000, loud=False)),
    ],
    ids=["bomb", "truncated", "svg", "cut off", "playlist", "concat", "header", "empty", "silence", "too long"],
)
async def test_what_is_no_good_is_refused_for_good(maker, image, audio):
    with pytest.raises(Invalid, match="cannot be made") as refused:
        await maker.submit(submission(still(image), heard(audio or sound(0.2))))
    assert "passwd" not in str(refused.value) and "/tmp" not in str(refused.value)


@pytest.mark.parametrize(
    "asked",
    [
        (heard(sound(0.1)),),
        (still(),),
        (*[still()] * 9, heard(sound(0.1))),
    ],
)
async def test_without_a_picture_or_a_sound_there_is_no_film(maker, asked):
    with pytest.raises(Invalid):
        await maker.submit(submission(*asked))


async def test_a_film_that_takes_too_long_or_too_much_ends_and_leaves_nothing(maker, tmp_path, monkeypatch):
    """Its process and its folder are gone, and the next is made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(Unavailable):
        await maker.submit(submission(still(), heard(sound(30)), size="720x1280", seconds=1.5))
    making = asyncio.create_task(maker.submit(submission(still(), heard(sound(30)), size="720x1280")))
    while not list(tmp_path.glob("*/film.mp4")):
        await asyncio.sleep(0.02)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert list(tmp_path.iterdir()) == []
    assert (await film_of(maker, still(), heard(sound(0.2)))).size == (180, 320)


MAKER = """
import asyncio, sys, aiohttp
from pathlib import Path
from uuid import uuid4
from contracts.facts import Kind
from generator.providers.darkroom import Darkroom
from generator.providers.interface import Given, Submission

async def make():
    given = [Given(role, content=Path(file).read_bytes()) for role, file in (("image", "{0}"), ("audio", "{1}"))]
    async with aiohttp.ClientSession() as session:
        await Darkroom(session).submit(Submission(
            reference=uuid4(), kind=Kind.VIDEO, model="darkroom-avatar", prompt="A boat.", count=1, first_index=0,
            size="720x1280", options={{}}, timeout_seconds=60.0, given=given))

asyncio.run(make())
"""


async def test_a_film_whose_maker_is_killed_ends_with_it_and_the_next_leaves_nothing_of_it(
    maker, tmp_path, monkeypatch
):
    """In the middle of its frames: the process is gone, and its folder once somebody makes a film on this machine."""
    shown, spoken = tmp_path / "shown.png", tmp_path / "spoken.wav"
    shown.write_bytes(picture())
    spoken.write_bytes(sound(60, rate=8000, loud=False))
    films = tmp_path / "films"
    films.mkdir()
    dying = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", MAKER.format(shown, spoken)), env={**os.environ, "TMPDIR": str(films)}
    )
    await until(lambda: list(films.glob("*/film.mp4")), 60)
    [composing] = psutil.Process(dying.pid).children()
    assert "generator.composition" in composing.cmdline()
    monkeypatch.setattr(tempfile, "tempdir", str(films))
    await film_of(maker, still(), heard(sound(0.2)))
    assert composing.is_running() and list(films.glob("*/film.mp4")), "what somebody works in is left alone"
    dying.kill()
    await dying.wait()
    await asyncio.to_thread(composing.wait, 10)
    assert len(list(films.iterdir())) == 1
    await film_of(maker, still(), heard(sound(0.2)))
    assert list(films.iterdir()) == []


async def test_the_process_knows_nothing_of_ours(maker, monkeypatch, tmp_path):
    """No key and no address stands in its environment: what it decodes comes from strangers."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    seen = {}
    start = asyncio.create_subprocess_exec

    async def watched(*command, **options):
        process = await start(*command, **options)
        seen["environment"] = Path(f"/proc/{process.pid}/environ").read_bytes()
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", watched)
    await film_of(maker, still(), heard(sound(0.2)))
    assert b"sk-secret" not in seen["environment"]


# -- captions, which are pure ----------------------------------------------------------------------------------------

texts = some.text(some.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=300)


@settings(max_examples=200)
@given(texts, some.floats(0.1, 300))
def test_all_that_is_said_is_shown_once_in_order_without_gaps(script, seconds):
    shown = captions(script, seconds)
    assert "".join("".join(caption.text for caption in shown).split()) == "".join(script.split())
    if shown:
        assert shown[0].start == 0 and shown[-1].end == pytest.approx(seconds)
        assert all(one.end == other.start for one, other in pairwise(shown))
        assert all(caption.start < caption.end and len(caption.text) <= MAX_LETTERS + 8 for caption in shown)
        assert at(shown, shown[-1].start) == shown[-1].text
    assert at(shown, seconds + 1) == ""


def test_captions_end_with_sentences_and_long_ones_last_longer():
    shown = captions("Short one. " + "A very much longer sentence that goes on for a good while.", 10)
    assert [caption.text for caption in shown] == [
        "Short one.",
        "A very much longer sentence that goes on for a good",
        "while.",
    ]
    assert shown[1].end - shown[1].start > 2 * (shown[0].end - shown[0].start)
    chinese = captions("灯塔独自站在暴风雨中。海浪拍打着岩石,今夜无人入睡!", 6)
    assert [caption.text for caption in chinese] == ["灯塔独自站在暴风雨中。", "海浪拍打着岩石,今夜无人入睡!"]


def test_what_no_font_has_is_not_written():
    """Rather nothing than rows of empty boxes."""
    assert letter("A lighthouse", 1080, 1920) is not None
    assert font_for("\ue000", 40) is None and letter("\ue000", 1080, 1920) is None
    small = letter("word " * 60, 200, 200)
    assert small is not None and small.letters.width <= 200


@given(some.floats(0, 1000))
def test_the_window_stays_in_the_picture_and_moves_slowly(second):
    seen, later = window(second), window(second + 0.04)
    assert -1e-9 <= seen.left < seen.right <= 1 + 1e-9 and -1e-9 <= seen.top < seen.bottom <= 1 + 1e-9
    assert 1 / NEAREST - 1e-9 <= seen.right - seen.left <= 1 + 1e-9
    assert abs(later.left - seen.left) < 0.004 > abs(later.top - seen.top)
    assert window(0).left == pytest.approx(0) and window(CYCLE_SECONDS / 2).bottom < 1
