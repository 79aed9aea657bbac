"""Captions as pictures: light letters with a dark edge, in the lower part of the frame."""

import unicodedata
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from generator.composition.captions import is_wide

LINES = 3
ROOM = 0.88
"""Of the frame's width."""
BOTTOM = 0.14
"""How far above the lower edge the last line ends, of the frame's height."""
FAMILIES = ("NotoSans-Bold.ttf", "DejaVuSans-Bold.ttf", "NotoSansCJK-Bold.ttc", "NotoSansArabic-Bold.ttf")
"""Looked for where the system keeps its fonts, for scripts that the one that comes with Pillow has no letters of."""
_UNSEEN = {"Cc", "Cf", "Mn", "Me", "Mc", "Zs", "Zl", "Zp"}
"""Spaces, marks on other letters, and what only says how others are written."""
Font = ImageFont.FreeTypeFont


@dataclass(frozen=True, slots=True)
class Lettering:
    """Masks of one caption: `letters` and, around them, `edge`; their upper left corner, both numbers even."""

    letters: Image.Image
    edge: Image.Image
    corner: tuple[int, int]


def letter(text: str, width: int, height: int) -> Lettering | None:
    """None where there is nothing to show, or no font that could."""
    size = max(12, min(width, height) // 18)
    font = font_for(text, size)
    if font is None:
        return None
    edge_width = max(2, size // 12)
    lines = _lines(text, font, width * ROOM)
    while len(lines) > LINES and size > 12:
        size = size * 9 // 10
        font = font_for(text, size) or font
        lines = _lines(text, font, width * ROOM)
    joined = "\n".join(lines)
    probe = ImageDraw.Draw(Image.new("L", (1, 1)))
    left, top, right, bottom = probe.multiline_textbbox((0, 0), joined, font, align="center", stroke_width=edge_width)
    area = _even(right - left), _even(bottom - top)
    corner = _even((width - area[0]) / 2), max(0, _even(height * (1 - BOTTOM) - area[1]))

    def draw(stroke_width: int) -> Image.Image:
        mask = Image.new("L", area)
        ImageDraw.Draw(mask).multiline_text(
            (-left, -top), joined, 255, font, align="center", stroke_width=stroke_width, stroke_fill=255
        )
        return mask

    return Lettering(draw(0), draw(edge_width), corner)


def font_for(text: str, size: int) -> Font | None:
    """A font that has letters for all that is said."""
    needed = {letter for letter in text if unicodedata.category(letter) not in _UNSEEN}
    for family in (None, *FAMILIES):
        font = _font(family, size)
        if font is not None and all(_has(font, letter) for letter in needed):
            return font
    return None


@cache
def _font(family: str | None, size: int) -> Font | None:
    if family is None:
        default = ImageFont.load_default(size)
        return default if isinstance(default, Font) else None
    try:
        return ImageFont.truetype(family, size)
    except OSError:
        return None


@cache
def _has(font: Font, letter: str) -> bool:
    """Whether it is drawn otherwise than what no font has."""
    return bytes(font.getmask(letter)) != bytes(font.getmask("\U0010ffff"))


def _lines(text: str, font: Font, room: float) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        for piece in word if word and is_wide(word[0]) else [word]:
            joiner = "" if not lines[-1] or piece is not word else " "
            longer = f"{lines[-1]}{joiner}{piece}"
            if lines[-1] and font.getlength(longer) > room:
                lines.append(piece)
            else:
                lines[-1] = longer
    return lines


def _even(value: float) -> int:
    return int(value + 1) // 2 * 2
