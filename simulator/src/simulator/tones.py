"""Sound without a recording: a quiet tune for films, and speech whose length and pitch follow the text.

Samples are 16 bit, little endian, mono, `RATE` a second.
"""

from __future__ import annotations

import io
import math
from array import array
from fractions import Fraction
from functools import lru_cache
from random import Random
from types import SimpleNamespace
from typing import Literal, cast

import av

RATE = 24_000
LETTER_SECONDS = 0.065
"""About 15 letters a second, as people speak."""
PAUSE_SECONDS = 0.22
_TABLE = 2048
_SINE = tuple(math.sin(2 * math.pi * place / _TABLE) for place in range(_TABLE))
_SCALE = (0, 2, 4, 7, 9, 12)
_VOWELS = {"a": (730, 1090), "e": (530, 1840), "i": (270, 2290), "o": (570, 840), "u": (300, 870), "y": (290, 2100)}
_FORMANTS = tuple(_VOWELS.values())
Container = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
CONTENT_TYPES: dict[str, str] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
_CODECS = {
    "mp3": ("mp3", "libmp3lame", "s16p", RATE),
    "opus": ("ogg", "libopus", "s16", 48_000),
    "aac": ("adts", "aac", "fltp", RATE),
    "flac": ("flac", "flac", "s16", RATE),
    "wav": ("wav", "pcm_s16le", "s16", RATE),
}


def melody(dice: Random, seconds: int) -> bytes:
    """Half-second notes of one scale, each fading."""
    root = dice.choice((196.0, 220.0, 246.9, 261.6))
    notes = [root * 2 ** (dice.choice(_SCALE) / 12) for _ in range(seconds * 2)]
    return b"".join(_note(round(note, 1)) for note in notes)


def speech(text: str, voice: str, speed: float) -> bytes:
    """Each letter is a short voiced sound with formants of its own, each word end a pause: real to look at and to
    measure, if not to understand. The voice decides the pitch."""
    pitch = 90 + sum(voice.encode()) % 130
    parts: list[bytes] = []
    for letter in text.lower():
        if letter.isalnum():
            parts.append(_letter(letter if letter.isascii() else "aeiou"[ord(letter) % 5], pitch, speed))
        elif not parts or parts[-1] is not _silence(speed):
            parts.append(_silence(speed))
    return b"".join(parts) or _silence(speed)


def seconds_of(samples: bytes) -> float:
    return len(samples) / 2 / RATE


def encode(samples: bytes, container: Container, rate: int | None = None) -> bytes:
    """The samples in a container of this kind, so many a second where that is said; `pcm` is the samples themselves.

    Written as vendors send it while it is spoken: without going back to say in the beginning how long it became.
    """
    if container == "pcm":
        return samples
    form, codec, sample_format, usual = _CODECS[container]
    rate = rate or usual
    buffer = io.BytesIO()
    with av.open(SimpleNamespace(write=buffer.write), "w", format=form) as out:
        stream = cast(av.AudioStream, out.add_stream(codec, rate=rate, layout="mono"))
        resampler = av.AudioResampler(format=sample_format, layout="mono", rate=rate)
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(samples) // 2, align=1)
        frame.planes[0].update(samples)
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    return buffer.getvalue()


@lru_cache(maxsize=256)
def _note(hertz: float) -> bytes:
    count = RATE // 2
    step = hertz * _TABLE / RATE
    samples = (int(6000 * (1 - n / count) * _SINE[int(n * step) % _TABLE]) for n in range(count))
    return array("h", samples).tobytes()


@lru_cache(maxsize=4096)
def _letter(letter: str, pitch: int, speed: float) -> bytes:
    count = int(RATE * LETTER_SECONDS / speed)
    first, second = _VOWELS.get(letter, _FORMANTS[ord(letter) % len(_FORMANTS)])
    steps = [hertz * _TABLE / RATE for hertz in (pitch, first, second)]
    level = 9000 if letter in _VOWELS else 3500
    samples = array("h")
    for n in range(count):
        swell = 4 * n * (count - n) / (count * count)
        voice, low, high = (_SINE[int(n * step) % _TABLE] for step in steps)
        samples.append(int(level * swell * (0.6 * voice + 0.3 * low + 0.1 * high)))
    return samples.tobytes()


@lru_cache(maxsize=64)
def _silence(speed: float) -> bytes:
    return bytes(2 * int(RATE * PAUSE_SECONDS / speed))


def heard(content: bytes) -> bool:
    """Whether there is a sound in it."""
    try:
        with av.open(io.BytesIO(content), "r") as container:
            return any(True for _ in container.decode(audio=0))
    except (av.FFmpegError, IndexError, ValueError):
        return False
