"""The sound of a film: read with the demuxer that its first bytes name, and made into what a film carries."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.error import FFmpegError

from generator.composition.plan import MAX_SECONDS, Unusable

RATE = 48_000
LAYOUT = "stereo"
HEAD_BYTES = 64
MAX_STREAMS = 8
_DEMUXERS = {
    "mov": re.compile(rb".{4}ftyp", re.DOTALL),
    "matroska": re.compile(rb"\x1a\x45\xdf\xa3.{0,56}webm", re.DOTALL),
    "wav": re.compile(rb"RIFF.{4}WAVE", re.DOTALL),
    "ogg": re.compile(rb"OggS"),
    "flac": re.compile(rb"fLaC"),
    "aac": re.compile(rb"\xff[\xf0\xf1\xf8\xf9]"),
    "mp3": re.compile(rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]"),
}
_CODECS = {"aac", "mp3", "mp3float", "opus", "libopus", "vorbis", "flac", "pcm_s16le", "pcm_s24le", "pcm_f32le"}
"""Every other decoder would only be a way in."""
_PASSED_OVER = re.compile(rb"ID3|\0+\Z")
"""Where a frame of an MP3 would begin."""


def seconds_of(path: Path) -> float:
    """How long it is, by its samples.

    Raises:
        Unusable: it is no sound that we know, is broken, empty, or longer than a film may be.
    """
    samples = 0
    for frame in frames_of(path):
        samples += frame.samples
        if samples > MAX_SECONDS * RATE:
            raise Unusable(f"the sound is longer than {MAX_SECONDS} seconds")
    if not samples:
        raise Unusable("there is nothing to hear in it")
    return samples / RATE


def frames_of(path: Path) -> Iterator[Any]:
    """Frames of `RATE` samples a second, in order and without gaps. Raises Unusable."""
    with _opened(path) as container:
        for _, alike in groupby(_heard(container), _form):
            resampler = av.AudioResampler(format="fltp", layout=LAYOUT, rate=RATE)
            for frame in alike:
                frame.pts = None
                yield from resampler.resample(frame)
            yield from resampler.resample(None)


def _heard(container: InputContainer) -> Iterator[Any]:
    """The tags in the midst of an MP3 that was joined of several are nothing to hear, nor is what fills its end."""
    for packet in container.demux(container.streams.audio[0]):
        if container.format.name != "mp3" or not _PASSED_OVER.match(bytes(packet)):
            yield from packet.decode()


def _form(frame: Any) -> tuple[str, str, int]:
    """What changes where sounds of several kinds were joined."""
    return frame.format.name, frame.layout.name, frame.rate


@contextmanager
def _opened(path: Path) -> Iterator[InputContainer]:
    """FFmpeg is given an open file, one demuxer and no protocol: a playlist inside is nothing to it."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        demuxer = next((name for name, begins in _DEMUXERS.items() if begins.match(head)), None)
        if demuxer is None:
            raise Unusable("it is no sound that we know")
        file.seek(0)
        options = {"protocol_whitelist": "none"}
        try:
            with av.open(file, "r", format=demuxer, options=options, metadata_errors="ignore") as container:
                audio = container.streams.audio
                if not audio or len(container.streams) > MAX_STREAMS:
                    raise Unusable("there is nothing to hear in it")
                if audio[0].codec_context is None or audio[0].codec_context.name not in _CODECS:
                    raise Unusable("the sound is of a kind that we do not know")
                audio[0].codec_context.thread_count = 1
                yield container
        except (FFmpegError, EOFError, ValueError) as error:
            raise Unusable("the sound is damaged") from error
