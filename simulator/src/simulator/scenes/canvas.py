"""The brushes every scene paints with: gradients, light, soft shapes, noise and grain.

Lengths are pixels of the working image; positions given as shares run from 0 to 1, left to right and top to bottom.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import pi, sin
from random import Random

from PIL import Image, ImageChops, ImageDraw

from simulator.scenes.palette import Colour, Palette

Point = tuple[float, float]
GRAIN_TILE_PIXELS = 512
_RADIAL_EDGE = 178
"""Pillow's radial gradient has this value at the middle of its edges and 255 only in its corners."""


class Canvas:
    """One RGB picture in the making, with its own dice and palette."""

    def __init__(self, width: int, height: int, palette: Palette, dice: Random, words: frozenset[str]) -> None:
        self.image = Image.new("RGB", (width, height))
        self.width, self.height = width, height
        self.unit = min(width, height)
        self.palette = palette
        self.dice = dice
        self.words = words

    def gradient(self, colours: Sequence[Colour], top: int = 0, bottom: int | None = None) -> None:
        bottom = self.height if bottom is None else bottom
        if bottom > top:
            self.image.paste(vertical((self.width, bottom - top), colours), (0, top))

    def glow(self, x: float, y: float, radius: float, colour: Colour, strength: float = 1.0) -> None:
        """Light that falls off softly from a point."""
        side = max(2, round(radius * 2))
        mask = _falloff(round(strength * 255)).resize((side, side), Image.Resampling.BILINEAR)
        self.image.paste(colour, (round(x - radius), round(y - radius)), mask)

    def disc(self, x: float, y: float, radius: float, colour: Colour, opacity: float = 1.0) -> None:
        side = max(2, round(radius * 2) + 2)
        mask = Image.new("L", (side * 3, side * 3))
        edge = (side * 3) / 2 - radius * 3
        ImageDraw.Draw(mask).ellipse((edge, edge, side * 3 - edge, side * 3 - edge), fill=round(255 * opacity))
        self.image.paste(colour, (round(x - side / 2), round(y - side / 2)), mask.reduce(3))

    def shape(self, points: Sequence[Point], colours: Sequence[Colour], opacity: float = 1.0, smooth: int = 2) -> None:
        """A polygon with clean edges, filled by a vertical gradient over its own height."""
        left = max(0, int(min(x for x, _ in points)) - 1)
        right = min(self.width, int(max(x for x, _ in points)) + 2)
        top = max(0, int(min(y for _, y in points)) - 1)
        bottom = min(self.height, int(max(y for _, y in points)) + 2)
        if right <= left or bottom <= top:
            return
        size = (right - left, bottom - top)
        mask = Image.new("L", (size[0] * smooth, size[1] * smooth))
        moved = [((x - left) * smooth, (y - top) * smooth) for x, y in points]
        ImageDraw.Draw(mask).polygon(moved, fill=round(255 * opacity))
        filling = vertical(size, colours) if len(colours) > 1 else colours[0]
        self.image.paste(filling, (left, top, right, bottom), mask.reduce(smooth) if smooth > 1 else mask)

    def veil(self, mask: Image.Image, colour: Colour, top: int = 0) -> None:
        """Lays a colour over the picture where `mask` (mode L) is light."""
        self.image.paste(colour, (0, top), mask)

    def clouds(
        self, top: float, bottom: float, colour: Colour, opacity: float, *, stretch: float = 3.0, cover: float = 0.5
    ) -> None:
        """Drifting vapour between two heights (shares), thinning out at both edges."""
        low, high = round(top * self.height), round(bottom * self.height)
        if high - low < 4:
            return
        size = (self.width, high - low)
        rows = max(3, round(6 * size[1] / self.unit * stretch))
        columns = max(3, round(6 * size[0] / self.unit))
        field = noise(self.dice, (columns, rows), size)
        start = 255 * (1 - cover)
        span = max(1.0, 255 - start)
        field = field.point([round(255 * opacity * _ease((value - start) / span)) for value in range(256)])
        fade = vertical_mask(size, lambda share: sin(pi * share))
        self.veil(ImageChops.multiply(field, fade), colour, low)

    def ridge(self, height: float, rough: float, detail: int = 6, step: int = 3) -> list[Point]:
        """A skyline around the height (a share), as points from the left edge to the right."""
        dice = self.dice
        waves = [
            (dice.uniform(0.7, 1.3) * 1.9**octave, dice.uniform(0, 2 * pi), 0.52**octave) for octave in range(detail)
        ]
        points: list[Point] = []
        step = max(step, self.width // 260)
        for x in range(-step, self.width + 2 * step, step):
            at = 2 * pi * x / self.unit
            sway = sum(weight * sin(at * pace + turn) for pace, turn, weight in waves)
            points.append((float(x), (height + rough * sway * 0.5) * self.height))
        return points

    def ground(self, line: Sequence[Point], colours: Sequence[Colour]) -> None:
        """Everything below a skyline."""
        floor = self.height + 2
        self.shape([*line, (line[-1][0], floor), (line[0][0], floor)], colours)

    def shadow(self, line: Sequence[Point], reach: float, opacity: float) -> None:
        """Darkens what lies just above a skyline, most at the line itself, over `reach` pixels."""
        top = max(0, int(min(y for _, y in line) - reach))
        bottom = min(self.height, int(max(y for _, y in line)) + 2)
        if bottom <= top:
            return
        mask = Image.new("L", (self.width, bottom - top))
        pen = ImageDraw.Draw(mask)
        steps = 6
        for step in range(1, steps + 1):
            rise = reach * (1 - (step - 1) / steps)
            edge = [(x, y - top - rise) for x, y in line]
            pen.polygon(
                [*edge, (edge[-1][0], self.height), (edge[0][0], self.height)], fill=round(255 * opacity * step / steps)
            )
        self.veil(mask, self.palette.dark, top)


def vertical(size: tuple[int, int], colours: Sequence[Colour]) -> Image.Image:
    """A vertical gradient through evenly spaced colours."""
    if len(colours) == 1:
        return Image.new("RGB", size, colours[0])
    count = len(colours)
    stops = Image.frombytes("RGB", (1, count), b"".join(bytes(colour) for colour in colours))
    column = stops.resize((1, size[1]), Image.Resampling.BILINEAR, box=(0, 0.5, 1, count - 0.5))
    return column.resize(size, Image.Resampling.NEAREST)


def vertical_mask(size: tuple[int, int], opacity: Callable[[float], float]) -> Image.Image:
    """A mask whose opacity (0 to 1) depends on the height alone."""
    rows = bytes(round(255 * min(1.0, max(0.0, opacity(row / max(1, size[1] - 1))))) for row in range(size[1]))
    return Image.frombytes("L", (1, size[1]), rows).resize(size, Image.Resampling.NEAREST)


def noise(dice: Random, cells: tuple[int, int], size: tuple[int, int], octaves: int = 3) -> Image.Image:
    """Soft fractal noise, mode L, drawn small and enlarged."""
    small = (max(2, size[0] // 3), max(2, size[1] // 3))
    field = Image.new("L", small, 128)
    for octave in range(octaves):
        columns, rows = cells[0] << octave, cells[1] << octave
        layer = Image.frombytes("L", (columns, rows), dice.randbytes(columns * rows))
        layer = layer.resize(small, Image.Resampling.BICUBIC)
        field = Image.blend(field, layer, 0.36) if octave else layer
    return field.resize(size, Image.Resampling.BILINEAR)


def grained(image: Image.Image, amount: int, dice: Random) -> Image.Image:
    """The picture with film grain of about ±`amount` levels, the same for the three channels."""
    tile = _grain_tile(amount)
    sheet = Image.new("L", image.size)
    start_x, start_y = dice.randrange(GRAIN_TILE_PIXELS), dice.randrange(GRAIN_TILE_PIXELS)
    for x in range(-start_x, image.width, GRAIN_TILE_PIXELS):
        for y in range(-start_y, image.height, GRAIN_TILE_PIXELS):
            sheet.paste(tile, (x, y))
    return ImageChops.add(image, Image.merge("RGB", (sheet, sheet, sheet)), 1, -amount)


@lru_cache(maxsize=8)
def _grain_tile(amount: int) -> Image.Image:
    side = GRAIN_TILE_PIXELS
    dice = Random(amount)
    first = Image.frombytes("L", (side, side), dice.randbytes(side * side))
    second = Image.frombytes("L", (side, side), dice.randbytes(side * side))
    return Image.blend(first, second, 0.5).point([round(value / 255 * 2 * amount) for value in range(256)])


@lru_cache(maxsize=64)
def _falloff(strength: int) -> Image.Image:
    curve = [round(strength * max(0.0, 1 - value / _RADIAL_EDGE) ** 1.9) for value in range(256)]
    return Image.radial_gradient("L").point(curve)


def _ease(share: float) -> float:
    share = min(1.0, max(0.0, share))
    return share * share * (3 - 2 * share)
