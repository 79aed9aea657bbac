"""Real videos and sounds, made by FFmpeg as providers make them."""

import io
import math
import struct
from fractions import Fraction
from typing import Any

import av
from av.audio.resampler import AudioResampler
from PIL import Image

RATE = 48_000


def video(
    width: int = 320,
    height: int = 180,
    seconds: float = 1.0,
    *,
    container: str = "mp4",
    fps: int | Fraction = 24,
    with_sound: bool = True,
    begins: tuple[float, float] = (0, 0),
    sound_seconds: float | None = None,
    other_sound: str | None = None,
    **metadata: str,
) -> bytes:
    """A video whose left half is red at first and whose brightness grows; with a tone where asked for.

    `begins` says at which second pictures and sound do. The tone is as long as the pictures, unless it is said how
    long; there is a second one where a codec is named for it.
    """
    output = io.BytesIO()
    with av.open(output, "w", format=container) as made:
        made.metadata.update(metadata)
        pictures: Any = made.add_stream("libx264" if container != "webm" else "libvpx-vp9", rate=fps)
        pictures.width, pictures.height, pictures.pix_fmt = width, height, "yuv420p"
        codec = "aac" if container != "webm" else "libopus"
        tones: Any = made.add_stream(codec, rate=RATE, layout="mono") if with_sound else None
        others: Any = made.add_stream(other_sound, rate=RATE, layout="mono") if other_sound else None
        for number in range(round(seconds * fps)):
            image = Image.new("RGB", (width, height), (0, 0, number * 5 % 256))
            image.paste((255, number * 5 % 256, 0), (0, 0, width // 2, height))
            frame = av.VideoFrame.from_image(image)
            frame.pts, frame.time_base = number + round(begins[0] * fps), Fraction(1, 1) / fps
            made.mux(pictures.encode(frame))
        made.mux(pictures.encode(None))
        for tone in filter(None, (tones, others)):
            _play(made, tone, seconds if sound_seconds is None else sound_seconds, begins[1])
    return output.getvalue()


def sound(seconds: float = 1.0, container: str = "mp3", *, quiet_seconds: float = 0, **options: str) -> bytes:
    """A tone that grows, in the container that the name says, after so much silence.

    `options` are the container's. After silence the encoder is one that takes few bytes for it.
    """
    codec = {"mp3": "libmp3lame", "wav": "pcm_s16le", "flac": "flac", "ogg": "libopus", "adts": "aac", "ipod": "aac"}
    output = io.BytesIO()
    with av.open(output, "w", format=container, options=options) as made:
        stream: Any = made.add_stream(codec[container], rate=RATE, layout="mono")
        if quiet_seconds:
            stream.codec_context.options = {"flags": "+qscale", "global_quality": "236"}
        _play(made, stream, seconds, quiet_seconds=quiet_seconds)
    return output.getvalue()


def _play(made: Any, stream: Any, seconds: float, begins: float = 0, quiet_seconds: float = 0) -> None:
    resampler = AudioResampler(format=stream.codec_context.format, layout="mono", rate=RATE)
    quiet, total = round(quiet_seconds * RATE), round((quiet_seconds + seconds) * RATE)
    for begin in range(0, total, 960):
        samples = [
            int(30_000 * max(0, begin + index - quiet) / (total - quiet) * math.sin((begin + index) / 12))
            for index in range(min(960, total - begin))
        ]
        frame: Any = av.AudioFrame(format="s16", layout="mono", samples=len(samples))
        frame.sample_rate, frame.pts = RATE, begin + round(begins * RATE)
        frame.planes[0].update(struct.pack(f"{len(samples)}h", *samples))
        for each in resampler.resample(frame):
            made.mux(stream.encode(each))
    made.mux(stream.encode(None))
