"""The shape of a sound, for players to draw. To be run in the workshop only.

Numbers and no picture: a player draws them in its own colours and at any width, they are 3 KB, and the format is what
the players that draw waveforms read (version 2 of audiowaveform's JSON: minimum and maximum by turns).
"""

import json
from collections.abc import Iterator
from typing import Any

from av.audio.resampler import AudioResampler

from storage.pictures import Unusable
from storage.recordings import opened, packets

POINTS = 800
"""As many pairs at most: more than a player is wide in pixels."""
RATE = 8000
"""Samples per second that are looked at: enough for what the eye sees of speech."""


def waveform(source: str, seconds: float) -> bytes:
    """The waveform of a sound of that length, mono, 8 bits.

    Raises:
        storage.pictures.Unusable: there is nothing to hear.
    """
    per_point = max(1, -(-int(seconds * RATE) // POINTS))
    data: list[int] = []
    rest = memoryview(b"").cast("h")
    for samples in _samples(source):
        joined = memoryview(bytes(rest) + bytes(samples)).cast("h")
        whole = len(joined) - len(joined) % per_point
        for begin in range(0, whole, per_point):
            point = joined[begin : begin + per_point]
            data += (min(point) >> 8, max(point) >> 8)
        rest = joined[whole:]
    if len(rest):
        data += (min(rest) >> 8, max(rest) >> 8)
    if not data:
        raise Unusable("there is nothing to hear in it")
    about: dict[str, Any] = {
        "version": 2,
        "channels": 1,
        "sample_rate": RATE,
        "samples_per_pixel": per_point,
        "bits": 8,
    }
    return json.dumps({**about, "length": len(data) // 2, "data": data}, separators=(",", ":")).encode()


def _samples(source: str) -> Iterator[memoryview]:
    resampler = AudioResampler(format="s16", layout="mono", rate=RATE)
    with opened(source) as container:
        if not container.streams.audio:
            return
        for packet in packets(container, container.streams.audio[0]):
            for each in (each for frame in packet.decode() for each in resampler.resample(frame)):
                yield memoryview(bytes(each.planes[0])[: 2 * each.samples])
