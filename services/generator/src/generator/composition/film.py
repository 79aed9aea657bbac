"""The film itself: H.264 and AAC in an MP4 that plays while it loads."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from PIL import Image

from generator.composition.captions import at, captions
from generator.composition.lettering import Lettering, letter
from generator.composition.plan import FILM, Plan, Quality
from generator.composition.sound import LAYOUT, RATE, frames_of, seconds_of
from generator.composition.stills import Planes, Stills

FRAMES_PER_SECOND = 25
THREADS = 2
SOUND_BITS_PER_SECOND = 160_000
_ENCODERS: dict[Quality, dict[str, str]] = {
    "draft": {"crf": "28", "preset": "ultrafast"},
    "standard": {"crf": "22", "preset": "veryfast"},
    "high": {"crf": "18", "preset": "fast"},
}
_BLACK, _WHITE, _NO_COLOUR = 16, 235, 128
"""In the range of films."""


def compose(folder: Path) -> None:
    """Makes the film of a plan.

    Raises:
        Unusable: what it is to be made of is no good.
        OSError: the folder cannot be read or written.
    """
    plan = Plan.read(folder)
    sound = folder / plan.sound
    seconds = seconds_of(sound)
    stills = Stills([folder / name for name in plan.pictures], plan.width, plan.height, seconds)
    shown = captions(plan.script, seconds) if plan.script else []
    with av.open(str(folder / FILM), "w", format="mp4", options={"movflags": "faststart"}) as made:
        pictures, heard = _streams(made, plan)
        waiting = frames_of(sound)
        samples = 0
        written: tuple[str, Lettering | None] = ("", None)
        for number in range(max(1, round(seconds * FRAMES_PER_SECOND))):
            second = number / FRAMES_PER_SECOND
            text = at(shown, second)
            if text != written[0]:
                written = text, letter(text, plan.width, plan.height)
            frame = _frame(_inscribed(stills.frame(second), written[1]), number)
            made.mux(pictures.encode(frame))
            # Sound follows pictures closely, so that neither waits in memory for the other.
            samples = _sound(made, heard, waiting, samples, int((second + 1) * RATE))
        _sound(made, heard, waiting, samples, None)
        for stream in (pictures, heard):
            made.mux(stream.encode(None))


def _streams(made: Any, plan: Plan) -> tuple[Any, Any]:
    pictures = made.add_stream("libx264", rate=FRAMES_PER_SECOND, options=_ENCODERS[plan.quality])
    pictures.width, pictures.height, pictures.pix_fmt = plan.width, plan.height, "yuv420p"
    pictures.codec_context.time_base = Fraction(1, FRAMES_PER_SECOND)
    pictures.codec_context.thread_count = THREADS
    heard = made.add_stream("aac", rate=RATE, layout=LAYOUT)
    heard.bit_rate = SOUND_BITS_PER_SECOND
    return pictures, heard


def _sound(made: Any, heard: Any, waiting: Iterator[Any], samples: int, until: int | None) -> int:
    """Writes sound up to so many samples, or all that is left; returns how many there are by now."""
    while until is None or samples < until:
        frame = next(waiting, None)
        if frame is None:
            break
        frame.pts, frame.time_base = samples, Fraction(1, RATE)
        samples += frame.samples
        made.mux(heard.encode(frame))
    return samples


def _inscribed(planes: Planes, lettering: Lettering | None) -> Planes:
    """The frame with a caption on it."""
    if lettering is None:
        return planes
    light, blue, red = planes
    across, down = lettering.corner
    light.paste(_BLACK, (across, down), lettering.edge)
    light.paste(_WHITE, (across, down), lettering.letters)
    colourless = lettering.edge.resize((lettering.edge.width // 2, lettering.edge.height // 2), Image.Resampling.BOX)
    for plane in (blue, red):
        plane.paste(_NO_COLOUR, (across // 2, down // 2), colourless)
    return planes


def _frame(planes: Planes, number: int) -> Any:
    width, height = planes[0].size
    frame = av.VideoFrame(width, height, "yuv420p")
    for plane, image in zip(frame.planes, planes, strict=True):
        padding = bytes(plane.line_size - image.width)
        content = image.tobytes()
        if padding:
            rows = range(0, len(content), image.width)
            content = b"".join(content[row : row + image.width] + padding for row in rows)
        plane.update(content)
    frame.pts, frame.time_base = number, Fraction(1, FRAMES_PER_SECOND)
    frame.color_range = av.video.reformatter.ColorRange.MPEG
    frame.colorspace = av.video.reformatter.Colorspace.ITU709
    return frame
