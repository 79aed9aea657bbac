"""What a prompt is a picture of: words choose a scene and a palette, dice choose the rest.

A scene paints a `Canvas` and knows nothing about formats, files or providers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

from PIL import Image

from simulator.scenes.canvas import Canvas
from simulator.scenes.indoors import city, flower, orbs, portrait, ribbons
from simulator.scenes.outdoors import desert, forest, mountains, night, sea
from simulator.scenes.palette import choose_palette

Scene = Callable[[Canvas], None]

_SCENES: tuple[tuple[Scene, str], ...] = (
    (portrait, "portrait woman man girl boy face person people child king queen selfie model soldier lady"),
    (flower, "flower flowers rose tulip daisy bouquet sunflower orchid petals blossom lily garden"),
    (city, "city skyline street tokyo york building buildings tower skyscraper urban cyberpunk downtown paris london"),
    (
        sea,
        "sea ocean beach lake wave waves boat harbour harbor island coast ship sail water shore lighthouse fish river",
    ),
    (forest, "forest tree trees jungle wood woods rainforest deer fox bear wolf fog misty mist"),
    (desert, "desert dune dunes sahara camel canyon mars sand"),
    (night, "night stars star moon galaxy space milky aurora astronaut cosmos planet nebula midnight starry"),
    (
        mountains,
        "mountain mountains landscape valley hill hills sunset sunrise dawn dusk alps peak peaks snow winter sky",
    ),
)
_WORD = re.compile(r"[^\W\d_]+")
_MARKER = re.compile(r"\[\[.*?\]\]")


def paint(prompt: str, width: int, height: int, seed: int) -> Image.Image:
    """An RGB picture of the prompt; the same arguments always give the same pixels."""
    words = _WORD.findall(_MARKER.sub(" ", prompt).lower())
    dice = Random(f"{prompt}|{seed}")
    palette = choose_palette(words, dice)
    known = set(words)
    scene = next((scene for scene, names in _SCENES if known & set(names.split())), None)
    canvas = Canvas(width, height, palette, dice, frozenset(known))
    (scene or dice.choice((ribbons, orbs)))(canvas)
    return canvas.image
