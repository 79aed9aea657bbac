"""Sounds: known by their content, whole as those send them who speak while they speak, joined, or among tags (P29)."""

import json
import struct
from pathlib import Path

import pytest

from contracts.facts import Kind
from storage.films import copy_streams
from storage.pictures import Unusable
from storage.recordings import inspect
from storage.waveforms import waveform

from .recorded import sound
from .samples import picture
from .test_recordings import inspected


@pytest.mark.parametrize(
    ("container", "mime_type"),
    [
        ("mp3", "audio/mpeg"),
        ("wav", "audio/wav"),
        ("flac", "audio/flac"),
        ("ogg", "audio/ogg"),
        ("adts", "audio/aac"),
        ("ipod", "audio/mp4"),
    ],
)
def test_a_sound_is_known_by_content(tmp_path: Path, container: str, mime_type: str) -> None:
    found = inspected(tmp_path / "sound", sound(1.5, container), Kind.SPEECH)
    assert (found.mime_type, found.width, found.height) == (mime_type, None, None)
    assert found.seconds == pytest.approx(1.5, abs=0.1)
    assert found.bitrate > 8_000


@pytest.mark.parametrize("container", ["mp3", "adts"])
def test_a_sound_that_says_nothing_of_its_length_may_begin_quietly(tmp_path: Path, container: str) -> None:
    """As it comes from whoever sends it while it is spoken. FFmpeg guesses its length by how dear the beginning was."""
    content = sound(2, container, quiet_seconds=3, **({"write_xing": "0"} if container == "mp3" else {}))
    assert inspected(tmp_path / "sound", content, Kind.SPEECH).seconds == pytest.approx(5, abs=0.1)


@pytest.mark.parametrize("written", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFFFFF - 36, 2_000_000_000, 0])
def test_a_wav_that_was_sent_while_it_was_spoken_is_whole(tmp_path: Path, written: int) -> None:
    """OpenAI's, ElevenLabs' and others': what stands in it instead of a length says that nobody knew it yet."""
    content = bytearray(sound(2, "wav"))
    for place in (4, content.index(b"data") + 4):
        content[place : place + 4] = struct.pack("<I", written)
    assert inspected(tmp_path / "sound", bytes(content), Kind.SPEECH).seconds == pytest.approx(2, abs=0.01)


def with_cover(content: bytes) -> bytes:
    """An MP3 or FLAC with a picture in its tags."""
    cover = picture(format_="JPEG")
    if content.startswith(b"fLaC"):
        about = struct.pack(">II10sIIIIII", 3, 10, b"image/jpeg", 0, 40, 30, 24, 0, len(cover)) + cover
        first = bytes([content[4] & 0x7F]) + content[5:42]  # it is not the last block of metadata any more
        return content[:4] + first + b"\x06" + len(about).to_bytes(3, "big") + about + content[42:]
    frame = b"\0image/jpeg\0\3\0" + cover
    tag = b"APIC" + struct.pack(">I", len(frame)) + b"\0\0" + frame
    size = bytes(len(tag) >> shift & 0x7F for shift in (21, 14, 7, 0))
    own = content.index(b"\xff\xfb") if content.startswith(b"ID3") else 0
    return b"ID3\3\0\0" + size + tag + content[own:]


@pytest.mark.parametrize("container", ["mp3", "flac"])
def test_a_sound_with_a_cover_is_a_sound(tmp_path: Path, container: str) -> None:
    content = with_cover(sound(1, container))
    source, target = tmp_path / "source", tmp_path / "target"
    found = inspected(source, content, Kind.SPEECH)
    assert (found.width, found.seconds) == (None, pytest.approx(1, abs=0.1))
    copy_streams(str(source), str(target), found.mime_type)
    assert b"JFIF" in content and b"JFIF" not in target.read_bytes()
    assert inspect(str(target), Kind.SPEECH).mime_type == found.mime_type


def test_sounds_that_were_joined_are_one_sound(tmp_path: Path) -> None:
    """Part by part as long texts are spoken. Each part brings its tags, which players pass over."""
    content = sound(1, "mp3", id3v2_version="3") + with_cover(sound(1, "mp3"))
    source, target = tmp_path / "source", tmp_path / "target"
    assert inspected(source, content, Kind.SPEECH).seconds == pytest.approx(2, abs=0.2)
    assert json.loads(waveform(str(source), 2))["length"] > 700
    copy_streams(str(source), str(target), "audio/mpeg")
    assert b"JFIF" in content and b"JFIF" not in target.read_bytes()
    assert inspect(str(target), Kind.SPEECH).seconds == pytest.approx(2, abs=0.2)


def test_an_ogg_that_was_joined_is_one_sound(tmp_path: Path) -> None:
    """Each part of it counts from 0 again (RFC 3533, 4)."""
    source, target = tmp_path / "source", tmp_path / "target"
    content = b"".join(sound(seconds, "ogg") for seconds in (2, 0.5, 1, 2))
    assert inspected(source, content, Kind.SPEECH).seconds == pytest.approx(5.5, abs=0.1)
    assert json.loads(waveform(str(source), 5.5))["length"] == pytest.approx(790, abs=10)
    copy_streams(str(source), str(target), "audio/ogg")
    assert inspect(str(target), Kind.SPEECH).seconds == pytest.approx(5.5, abs=0.1)


@pytest.mark.parametrize("zeros", [3, 400, 4000])
def test_zeros_behind_an_mp3_are_no_sound_that_is_broken(tmp_path: Path, zeros: int) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    content = sound(1, "mp3", write_xing="0") + bytes(zeros)
    assert inspected(source, content, Kind.SPEECH).seconds == pytest.approx(1, abs=0.1)
    copy_streams(str(source), str(target), "audio/mpeg")
    assert not target.read_bytes().endswith(bytes(zeros))


@pytest.mark.parametrize(("container", "mime_type"), [("adts", "audio/aac"), ("flac", "audio/flac")])
def test_the_tags_of_an_mp3_stand_in_front_of_other_sounds_too(tmp_path: Path, container: str, mime_type: str) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    found = inspected(source, b"ID3\4\0\0\0\0\1\0" + bytes(128) + sound(1, container), Kind.SPEECH)
    assert (found.mime_type, found.seconds) == (mime_type, pytest.approx(1, abs=0.1))
    copy_streams(str(source), str(target), found.mime_type)
    assert not target.read_bytes().startswith(b"ID3")
    assert inspect(str(target), Kind.SPEECH).mime_type == mime_type


@pytest.mark.parametrize("tags", [1, 2])
def test_an_mp3_that_says_how_long_it_is_says_so_behind_any_tags(tmp_path: Path, tags: int) -> None:
    """Who puts tags in front of a sound does not always look for those that are there."""
    tagged = b"ID3\4\0\0\0\0\1\0" + bytes(128)
    own = sound(4, "mp3")
    content = tagged * tags + own[own.index(b"\xff\xfb") :]
    assert inspected(tmp_path / "sound", content, Kind.SPEECH).seconds == pytest.approx(4, abs=0.1)
    with pytest.raises(Unusable, match="damaged or incomplete"):
        inspected(tmp_path / "sound", content[: len(content) // 2], Kind.SPEECH)
