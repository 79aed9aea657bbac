"""The colours of a picture, chosen by the words of its prompt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Palette:
    """`sky` runs from the zenith to the horizon; `haze` is distant air, `dark` the nearest silhouettes."""

    sky: tuple[Colour, Colour, Colour, Colour]
    light: Colour
    haze: Colour
    dark: Colour
    accent: Colour


PALETTES: dict[str, Palette] = {
    "sunset": Palette(
        ((43, 30, 92), (146, 62, 122), (240, 118, 92), (255, 204, 132)),
        (255, 238, 196),
        (230, 134, 116),
        (32, 17, 46),
        (255, 112, 84),
    ),
    "dawn": Palette(
        ((92, 122, 184), (172, 172, 212), (248, 202, 194), (255, 234, 208)),
        (255, 249, 228),
        (212, 186, 202),
        (44, 52, 92),
        (238, 134, 138),
    ),
    "day": Palette(
        ((36, 108, 188), (92, 166, 226), (166, 212, 240), (232, 244, 244)),
        (255, 253, 236),
        (164, 198, 214),
        (18, 56, 64),
        (246, 184, 72),
    ),
    "night": Palette(
        ((6, 9, 28), (13, 24, 60), (32, 52, 102), (74, 94, 146)),
        (242, 240, 222),
        (54, 72, 122),
        (5, 8, 20),
        (255, 212, 126),
    ),
    "autumn": Palette(
        ((92, 116, 142), (180, 176, 160), (240, 204, 150), (253, 230, 184)),
        (255, 242, 208),
        (216, 158, 108),
        (66, 26, 20),
        (206, 86, 32),
    ),
    "winter": Palette(
        ((112, 144, 184), (164, 192, 220), (212, 226, 240), (242, 245, 248)),
        (255, 255, 250),
        (192, 210, 228),
        (40, 62, 94),
        (118, 158, 210),
    ),
    "emerald": Palette(
        ((18, 70, 76), (62, 122, 112), (152, 192, 152), (228, 234, 194)),
        (250, 249, 214),
        (138, 176, 150),
        (7, 30, 34),
        (242, 202, 92),
    ),
    "neon": Palette(
        ((15, 6, 42), (60, 14, 98), (168, 30, 140), (255, 96, 150)),
        (255, 196, 222),
        (146, 38, 138),
        (11, 4, 32),
        (46, 228, 240),
    ),
    "sand": Palette(
        ((62, 132, 164), (152, 192, 192), (248, 220, 172), (255, 228, 178)),
        (255, 246, 214),
        (236, 188, 132),
        (112, 48, 30),
        (206, 98, 52),
    ),
    "lavender": Palette(
        ((80, 70, 140), (148, 120, 182), (222, 172, 202), (252, 220, 214)),
        (255, 240, 232),
        (184, 146, 190),
        (42, 26, 74),
        (244, 140, 168),
    ),
    "silver": Palette(
        ((64, 70, 80), (122, 128, 136), (184, 188, 192), (228, 228, 226)),
        (250, 248, 242),
        (166, 170, 176),
        (20, 22, 28),
        (196, 176, 132),
    ),
}

_WORDS: dict[str, str] = {
    "sunset": "sunset dusk evening golden sundown fire lava volcano orange romantic warm",
    "dawn": "dawn sunrise morning pastel soft spring pink baby cherry blossom",
    "day": "day noon sunny bright blue summer clear tropical sky beach island",
    "night": "night stars star moon midnight dark galaxy space nebula astronaut cosmos aurora planet milky",
    "autumn": "autumn fall october leaves rust brown harvest copper",
    "winter": "winter snow ice frozen cold arctic snowy frost glacier penguin",
    "emerald": "forest green jungle moss emerald nature wood woods tree trees garden rainforest fog mist",
    "neon": "neon cyberpunk futuristic robot synthwave vaporwave hologram retrowave",
    "sand": "desert sand dune dunes sahara canyon savanna egypt camel",
    "lavender": "lavender purple violet dream dreamy magic fantasy fairy",
    "silver": "monochrome noir grey gray silver rain storm minimal black white",
}
_PALETTE_OF_WORD = {word: name for name, words in _WORDS.items() for word in words.split()}

_ACCENTS: dict[str, Colour] = {
    "red": (206, 40, 48),
    "rose": (204, 44, 70),
    "poppy": (222, 56, 40),
    "pink": (244, 128, 168),
    "yellow": (246, 200, 56),
    "sunflower": (246, 186, 40),
    "orange": (244, 132, 48),
    "blue": (62, 116, 214),
    "green": (74, 166, 104),
    "violet": (138, 86, 196),
    "purple": (138, 86, 196),
    "white": (244, 240, 236),
    "gold": (222, 174, 76),
    "golden": (222, 174, 76),
    "turquoise": (56, 190, 188),
}


def choose_palette(words: list[str], dice: Random) -> Palette:
    """The palette of the first word that names a mood, otherwise one by chance; always slightly re-tuned."""
    named = next((_PALETTE_OF_WORD[word] for word in words if word in _PALETTE_OF_WORD), None)
    palette = PALETTES[named or dice.choice(sorted(PALETTES))]
    shift = (dice.randint(-9, 9), dice.randint(-7, 7), dice.randint(-9, 9))
    zenith, high, low, horizon = (_shifted(colour, shift) for colour in palette.sky)
    sky = (zenith, high, low, horizon)
    accent = next((_ACCENTS[word] for word in words if word in _ACCENTS), palette.accent)
    return replace(palette, sky=sky, haze=_shifted(palette.haze, shift), accent=_shifted(accent, shift))


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """`first` at share 0, `second` at share 1."""
    share = min(1.0, max(0.0, share))
    rest = 1 - share
    return (
        round(first[0] * rest + second[0] * share),
        round(first[1] * rest + second[1] * share),
        round(first[2] * rest + second[2] * share),
    )


def _shifted(colour: Colour, shift: tuple[int, int, int]) -> Colour:
    red, green, blue = (min(255, max(0, a + b)) for a, b in zip(colour, shift, strict=True))
    return red, green, blue
