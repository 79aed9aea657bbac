"""Still pictures that move: each is seen through a window that drifts over it and comes nearer and goes away again.

Frames are three planes, one of light and two of colour at half the size, as films are kept (4:2:0): it is half the work
of resizing pictures of red, green and blue.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from PIL import Image, ImageOps, UnidentifiedImageError

from generator.composition.plan import Unusable

MAX_PIXELS = 64_000_000
"""Checked in the header, before anything is decoded."""
MARGIN = 1.14
"""How much larger than the frame a picture is made, to have room for the window."""
NEAREST = 1.10
"""How much nearer than at first the window comes."""
CYCLE_SECONDS = 14.0
BLEND_SECONDS = 0.6
"""From one picture to the next."""
_TOO_LARGE = f"a picture has more than {MAX_PIXELS // 1_000_000} million pixels"
_FORMATS = ("PNG", "JPEG", "WEBP")

Planes = tuple[Image.Image, Image.Image, Image.Image]


@dataclass(frozen=True, slots=True)
class Window:
    """What is seen of a picture, in parts of its width and height."""

    left: float
    top: float
    right: float
    bottom: float


def window(second: float) -> Window:
    """Where it is then: it begins at its widest and comes back to that, without a jerk."""
    turn = 2 * math.pi * second / CYCLE_SECONDS
    side = 1 / (1 + (NEAREST - 1) * (1 - math.cos(turn)) / 2)
    room = 1 - side
    across, down = (1 + math.sin(turn / 2)) / 2, (1 - math.cos(turn / 3)) / 2
    return Window(room * across, room * down, room * across + side, room * down + side)


class Stills:
    """Pictures as the frames of a film of this size and length."""

    def __init__(self, paths: list[Path], width: int, height: int, seconds: float) -> None:
        """Raises Unusable: one of them is no picture that we know, too large or broken."""
        self._size = width, height
        self._share_seconds = seconds / len(paths)
        self._pictures = [_planes(_covered(path, _larger(width), _larger(height))) for path in paths]

    def frame(self, second: float) -> Planes:
        """What is seen then."""
        index = min(int(second / self._share_seconds), len(self._pictures) - 1)
        shown = self._seen(index, second)
        left_seconds = (index + 1) * self._share_seconds - second
        if index + 1 == len(self._pictures) or left_seconds >= BLEND_SECONDS:
            return shown
        part = 1 - left_seconds / BLEND_SECONDS
        light, blue, red = (
            Image.blend(now, then, part) for now, then in zip(shown, self._seen(index + 1, second), strict=True)
        )
        return light, blue, red

    def _seen(self, index: int, second: float) -> Planes:
        # The window goes on moving over the next picture, so that nothing stops where one follows another.
        seen = window(second + index * CYCLE_SECONDS / 3)
        width, height = self._size
        light, blue, red = self._pictures[index]
        return (
            _through(seen, light, (width, height)),
            _through(seen, blue, (width // 2, height // 2)),
            _through(seen, red, (width // 2, height // 2)),
        )


def _through(seen: Window, plane: Image.Image, size: tuple[int, int]) -> Image.Image:
    width, height = plane.size
    box = seen.left * width, seen.top * height, seen.right * width, seen.bottom * height
    return plane.resize(size, Image.Resampling.BILINEAR, box=box)


def _covered(path: Path, width: int, height: int) -> Image.Image:
    """The picture, upright, without transparency, and cut to this size around its middle."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if not 0 < image.width * image.height <= MAX_PIXELS:
                raise Unusable(_TOO_LARGE)
            image.draft("RGB", (2 * width, 2 * height))  # a JPEG is decoded no larger than it is needed
            upright = ImageOps.exif_transpose(image)
            if upright.has_transparency_data:
                ground = Image.new("RGBA", upright.size, "black")
                upright = Image.alpha_composite(ground, upright.convert("RGBA"))
            return ImageOps.fit(upright.convert("RGB"), (width, height), Image.Resampling.LANCZOS)
    except Image.DecompressionBombError as error:
        raise Unusable(_TOO_LARGE) from error
    except UnidentifiedImageError as error:
        raise Unusable("one of the pictures is none that we know") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise Unusable("one of the pictures is damaged") from error


def _planes(image: Image.Image) -> Planes:
    coloured: Any = av.VideoFrame.from_image(image)  # type: ignore[no-untyped-call]
    frame = coloured.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
    sizes = (image.size, *[(image.width // 2, image.height // 2)] * 2)
    light, blue, red = (
        Image.frombuffer("L", size, bytes(plane), "raw", "L", plane.line_size, 1)
        for plane, size in zip(frame.planes, sizes, strict=True)
    )
    return light, blue, red


def _larger(side: int) -> int:
    return int(side * MARGIN) // 2 * 2
