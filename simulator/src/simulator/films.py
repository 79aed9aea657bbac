"""Films: one painted scene that the camera travels over, as H.264 in MP4, silent or with a quiet tune in AAC."""

from __future__ import annotations

import io
from fractions import Fraction
from random import Random

import av
from PIL import Image

from simulator.tones import RATE, melody

FRAMES_PER_SECOND = 4
"""Enough to see that it moves; an encoded second costs a few milliseconds."""
TRAVEL = 8
"""The scene is wider than the frame by one part of this many."""
_OPTIONS = {"preset": "ultrafast", "crf": "30", "tune": "zerolatency"}
_SAMPLES_PER_FRAME = 1024


def wide_enough(width: int, height: int) -> tuple[int, int]:
    """The size of the scene that a film of this size travels over."""
    return width + width // TRAVEL, height


def film(scene: Image.Image, width: int, height: int, seconds: int, tune: int | None) -> bytes:
    """An MP4 of exactly so many seconds.

    `tune` seeds the melody, None is silence.
    """
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        pictures = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options=_OPTIONS)
        pictures.width, pictures.height, pictures.pix_fmt = width, height, "yuv420p"
        pictures.thread_count = 1
        sound = None
        if tune is not None:
            sound = container.add_stream("aac", rate=RATE, layout="mono")
            sound.bit_rate = 48_000
        frames = seconds * FRAMES_PER_SECOND
        for number in range(frames):
            view = _view(scene, width, height, number / max(1, frames - 1))
            frame = av.VideoFrame.from_image(view)  # type: ignore[no-untyped-call]
            frame.pts, frame.time_base = number, Fraction(1, FRAMES_PER_SECOND)
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode(None))
        if sound is not None and tune is not None:
            samples = melody(Random(tune), seconds)
            for start in range(0, len(samples), _SAMPLES_PER_FRAME * 2):
                container.mux(sound.encode(_audio(samples[start : start + _SAMPLES_PER_FRAME * 2], start // 2)))
            container.mux(sound.encode(None))
    return buffer.getvalue()


def last_frame(scene: Image.Image, width: int, height: int) -> Image.Image:
    return _view(scene, width, height, 1.0)


def _view(scene: Image.Image, width: int, height: int, share: float) -> Image.Image:
    left = round((scene.width - width) * share)
    return scene.crop((left, 0, left + width, height))


def _audio(samples: bytes, at: int) -> av.AudioFrame:
    frame = av.AudioFrame(format="s16", layout="mono", samples=len(samples) // 2, align=1)
    frame.planes[0].update(samples)
    frame.sample_rate, frame.pts, frame.time_base = RATE, at, Fraction(1, RATE)
    return frame
