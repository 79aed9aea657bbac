"""Videos and sounds: known by their content, played by the decoder, brought to what was asked for (P29, B39)."""

import io
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import pytest
from PIL import Image

from contracts.facts import Kind
from storage.films import copy_streams, make_exact, poster
from storage.pictures import Unusable
from storage.recordings import MAX_STREAMS, Recording, inspect
from storage.workshop import Workshop

from .recorded import sound, video
from .samples import picture


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "recording"


def inspected(file: Path, content: bytes, kind: Kind = Kind.VIDEO) -> Recording:
    file.write_bytes(content)
    return inspect(str(file), kind)


@pytest.mark.parametrize("container", ["mp4", "mov", "webm"])
@pytest.mark.parametrize("with_sound", [True, False])
def test_a_video_is_known_by_content(file: Path, container: str, with_sound: bool) -> None:
    content = video(320, 180, 2, container=container, with_sound=with_sound)
    found = inspected(file, content)
    expected = {"mp4": "video/mp4", "mov": "video/quicktime", "webm": "video/webm"}[container]
    assert (found.mime_type, found.width, found.height) == (expected, 320, 180)
    assert found.seconds == pytest.approx(2, abs=0.05)
    assert found.bitrate == pytest.approx(len(content) * 8 / 2, rel=0.05)


@pytest.mark.parametrize("container", ["mp4", "webm"])
@pytest.mark.parametrize("begins", [(0, 0), (5, 5), (0, 1), (1, 0)])
def test_sound_may_be_longer_than_the_pictures_and_both_may_begin_late(
    file: Path, container: str, begins: tuple[float, float]
) -> None:
    found = inspected(file, video(64, 64, 2, container=container, begins=begins, sound_seconds=4))
    assert found.seconds == pytest.approx(2, abs=0.05)


def test_of_a_film_that_was_trimmed_no_key_frame_has_to_be_seen(tmp_path: Path) -> None:
    """Whoever cuts off a beginning without making the film anew leaves it in: players decode it and skip it."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(video(64, 64, 4))
    options = {"avoid_negative_ts": "disabled"}
    with av.open(str(source)) as whole, av.open(str(target), "w", format="mp4", options=options) as trimmed:
        copies = {stream.index: trimmed.add_stream_from_template(stream) for stream in whole.streams}
        for packet in whole.demux():
            if packet.pts is not None and packet.dts is not None:
                second = round(1 / packet.time_base)
                packet.pts, packet.dts, packet.stream = (
                    packet.pts - second,
                    packet.dts - second,
                    copies[packet.stream.index],
                )
                trimmed.mux(packet)
    assert inspect(str(target), Kind.VIDEO).seconds == pytest.approx(3, abs=0.05)
    target.write_bytes(without_pictures(target.read_bytes()))
    with pytest.raises(Unusable):
        inspect(str(target), Kind.VIDEO)


def without_pictures(content: bytes) -> bytes:
    """What is played, replaced by nothing."""
    begin, end = content.index(b"mdat") + 4, content.index(b"moov") - 4
    return content[:begin] + bytes(end - begin) + content[end:]


def test_of_several_sounds_the_first_is_looked_at_and_copied(tmp_path: Path) -> None:
    """Players take the first; what nobody plays is left out where a file is made anew."""
    source, target = tmp_path / "source", tmp_path / "target"
    assert inspected(source, video(64, 64, 1, other_sound="ac3")).seconds == pytest.approx(1, abs=0.05)
    copy_streams(str(source), str(target), "video/mp4")
    with av.open(str(target)) as copied:
        assert [stream.codec_context.name for stream in copied.streams] == ["h264", "aac"]


def test_what_was_asked_for_and_nothing_else(file: Path) -> None:
    for content, kind in ((sound(), Kind.VIDEO), (video(), Kind.SPEECH), (picture(), Kind.VIDEO)):
        with pytest.raises(Unusable):
            inspected(file, content, kind)


# -- hostile --------------------------------------------------------------------------------------------------

WHOLE = video(160, 90, 2)
OGG = sound(3, "ogg")
PLAYLIST = b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:10.0,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"


def without_index(content: bytes) -> bytes:
    """Its `moov` renamed: nobody finds the index."""
    return content.replace(b"moov", b"junk", 1)


HOSTILE = {
    "nothing": b"",
    "B39 a playlist": PLAYLIST,
    "B39 a playlist behind a sound beginning": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + PLAYLIST,
    "B39 concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "B39 a bad index": WHOLE.replace(b"stsz", b"stsx", 1),
    "B39 no index": without_index(WHOLE),
    "B39 sizes that lie": WHOLE[:40] + struct.pack(">I", 2**31) + WHOLE[44:],
    "half": WHOLE[: len(WHOLE) // 2],
    "a hole": WHOLE[: len(WHOLE) // 2] + b"\0" * 4000 + WHOLE[len(WHOLE) // 2 + 4000 :],
    "HTML": b"<!doctype html><script>alert(1)</script>",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "AVI": b"RIFF\x10\0\0\0AVI LIST",
    "Matroska that is no WebM": b"\x1a\x45\xdf\xa3" + b"\0" * 60 + b"matroska",
    "half a WAV": sound(1, "wav")[:44] + b"\0",
    "half an Ogg": OGG[: len(OGG) // 2],
    "an Ogg without its last byte": OGG[:-1],
    "an Ogg that ends in the head of a page": OGG[: OGG.rindex(b"OggS") + 2],
    "an Ogg that ends in the lengths of a page": OGG[: OGG.rindex(b"OggS") + 28],
    "a WebM that ends in its header": video(64, 64, 1, container="webm")[:100],
    "MP3 of nothing": b"ID3\x04\0\0\0\0\0\0",
}


@pytest.mark.parametrize("kind", [Kind.VIDEO, Kind.SPEECH])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_recordings_are_refused_in_plain_words(file: Path, name: str, kind: Kind) -> None:
    with pytest.raises(Unusable):
        inspected(file, HOSTILE[name], kind)


def test_a_disk_that_cannot_be_read_is_not_the_recordings_fault(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must be transient, wherever in the file it happens."""

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 100_000:
                raise OSError(5, "Input/output error")
            return super().read(size)

    content = sound(2, "wav")
    assert len(content) > 150_000
    monkeypatch.setattr(Path, "open", lambda *_: Broken(content))
    with pytest.raises(OSError, match="Input/output"):
        inspect(str(file), Kind.SPEECH)


def test_b39_more_streams_than_anybody_needs(file: Path) -> None:
    import av

    output = io.BytesIO()
    with av.open(output, "w", format="mp4") as made:
        streams = [made.add_stream("aac", rate=48_000, layout="mono") for _ in range(MAX_STREAMS + 1)]
        for stream in streams:
            made.mux(stream.encode(None))
    with pytest.raises(Unusable):
        inspected(file, output.getvalue(), Kind.SPEECH)


def test_b39_ten_hours_are_refused_by_the_header(file: Path) -> None:
    """A picture an hour, so that the test need not wait for it."""
    content = video(64, 64, 36_000, fps=Fraction(1, 3600), with_sound=False)
    with pytest.raises(Unusable, match="longer"):
        inspected(file, content)


@contextmanager
def canary() -> Iterator[tuple[int, list[object]]]:
    """A listener on loopback that must hear nothing."""
    heard: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        ended = threading.Event()

        def listen() -> None:
            while not ended.is_set():
                try:
                    heard.append(listener.accept())
                except TimeoutError:
                    continue

        thread = threading.Thread(target=listen)
        thread.start()
        yield listener.getsockname()[1], heard
        ended.set()
        thread.join()


def test_p28_nothing_that_a_recording_names_is_opened(file: Path) -> None:
    """B39: playlists and outside references to http and to files, under every beginning that chooses a demuxer."""
    with canary() as (port, heard):
        address = f"http://127.0.0.1:{port}/segment.ts".encode()
        playlist = PLAYLIST.replace(b"file:///etc/passwd", address)
        reference = WHOLE.replace(b"url \0\0\0\1", b"url \0\0\0\0", 1)  # "the data is elsewhere"
        for content in (playlist, b"ID3\x04\0\0\0\0\0\0" + playlist, reference, b"OggS" + playlist):
            for kind in (Kind.VIDEO, Kind.SPEECH):
                with suppress(Unusable):
                    inspected(file, content, kind)
    assert heard == []


# -- exactly what was asked for -------------------------------------------------------------------------------


@pytest.mark.parametrize("container", ["mp4", "webm"])
@pytest.mark.parametrize(
    ("size", "seconds", "expected"),
    [
        ((128, 128), None, (128, 128, 2.0)),
        (None, 1, (320, 180, 1.0)),
        ((640, 360), 1, (640, 360, 1.0)),
        ((90, 160), 5, (90, 160, 2.0)),
    ],
)
def test_a_video_is_covered_cut_and_trimmed(
    tmp_path: Path,
    container: str,
    size: tuple[int, int] | None,
    seconds: int | None,
    expected: tuple[int, int, float],
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(video(320, 180, 2, container=container))
    make_exact(str(source), str(target), size, seconds)
    found = inspect(str(target), Kind.VIDEO)
    assert (found.mime_type, found.width, found.height) == ("video/mp4", *expected[:2])
    assert found.seconds == pytest.approx(expected[2], abs=0.001)
    image = Image.open(io.BytesIO(poster(str(target)))).convert("RGB")
    left, right = image.getpixel((2, image.height // 2)), image.getpixel((image.width - 3, image.height // 2))
    assert isinstance(left, tuple) and isinstance(right, tuple)
    assert (left[0] > 200, right[0] < 100) == (True, True), "cut in the middle, nothing turned or stretched"


@pytest.mark.parametrize("begins", [(0, 1 / 3), (1 / 3, 0), (1 / 24, 0), (2, 2)])
def test_sound_stays_with_its_pictures(tmp_path: Path, begins: tuple[float, float]) -> None:
    """Also where one of them begins later, by a frame or by much, or both do."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(video(320, 180, 2, begins=begins))
    make_exact(str(source), str(target), (128, 128), None)
    assert inspect(str(target), Kind.VIDEO).seconds == pytest.approx(2, abs=0.001)
    assert lag_of_sound(target) == pytest.approx(lag_of_sound(source), abs=0.03), "but for what AAC is primed with"
    with av.open(str(target)) as made:
        assert made.start_time == 0


def lag_of_sound(file: Path) -> float:
    """Seconds from the first picture to the first sound that is decoded."""
    first = []
    for of in ("audio", "video"):
        with av.open(str(file)) as container:
            first.append(next(container.decode(**{of: 0})).time)
    return first[0] - first[1]


def test_a_full_disk_is_not_the_recordings_fault(tmp_path: Path) -> None:
    """It must be transient: what was paid for is made when there is room again."""
    source = tmp_path / "source"
    source.write_bytes(WHOLE)
    for make, arguments in ((copy_streams, ("video/mp4",)), (make_exact, ((64, 64), None))):
        with pytest.raises(OSError, match="No space left"):
            make(str(source), "/dev/full", *arguments)  # type: ignore[operator]


def test_copying_leaves_everything_else_behind(tmp_path: Path) -> None:
    """B33, B37: the place where it was made, its title, and what is hidden behind the end."""
    source, target = tmp_path / "source", tmp_path / "target"
    content = video(160, 90, 1, title="secret title", location="+52.5+013.4/")
    assert b"secret title" in content
    source.write_bytes(content + b"<script>hidden</script>")
    copy_streams(str(source), str(target), "video/mp4")
    copied = target.read_bytes()
    assert not any(word in copied for word in (b"secret", b"hidden", b"+52.5"))
    assert inspect(str(target), Kind.VIDEO).seconds == pytest.approx(1, abs=0.05)


# -- and in how much memory ---------------------------------------------------------------------------------


async def test_4k_is_worked_on_in_little_memory(tmp_path: Path) -> None:
    """P29: a worker has 512 MB. Looked at, a poster made, and the dearest of all: encoded again, in 4K."""
    source, target = tmp_path / "source", tmp_path / "target"
    grey(source, 3840, 2160, 12)
    workshop = Workshop()
    try:
        async with workshop.place() as place:
            assert (await place.do(inspect, str(source))).width == 3840
            assert len(await place.do(poster, str(source))) > 1000
            await place.do(make_exact, str(source), str(target), (3840, 2100), 1, cpu_seconds=60)
            assert (await place.do(inspect, str(target))).height == 2100
            assert place.process._pool is not None
            [worker] = place.process._pool._processes
            peak, now = (
                int(Path(f"/proc/{worker}/status").read_text().split(f"{name}:")[1].split()[0])
                for name in ("VmHWM", "VmRSS")
            )
    finally:
        workshop.close()
    assert (peak < 400_000, now < 120_000) == (True, True), "what was let go is not kept"


def grey(file: Path, width: int, height: int, frames: int) -> None:
    """A second of a video that is quickly made, however large."""
    with av.open(str(file), "w", format="mp4") as made:
        stream = made.add_stream("libx264", rate=frames, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame(width, height, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([number * 20]) * plane.buffer_size)
            frame.pts = number
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
