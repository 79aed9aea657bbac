"""Deterministic, different, of the right size, light and quick enough."""

from __future__ import annotations

import asyncio
import io
import time
from dataclasses import replace

import pytest
from PIL import Image

from simulator.pictures import Gallery, Recipe, draw

PROMPTS = [
    "a sunset over the mountains",
    "the sea with a boat",
    "misty forest",
    "starry night",
    "tokyo skyline",
    "portrait of a woman",
    "a red rose",
    "desert dunes",
    "the taste of silence",
    "Ночной город 🌃",
]


def recipe(prompt: str = "an idea", size: tuple[int, int] = (512, 512), **changes) -> Recipe:
    return replace(Recipe(prompt, *size, index=0, seed=-1, format="png"), **changes)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_same_recipe_same_bytes_and_a_weight_near_64_kilobytes(prompt):
    picture = draw(recipe(prompt))
    assert picture == draw(recipe(prompt))
    assert 35_000 < len(picture) < 100_000


def test_whatever_differs_in_the_recipe_shows():
    plain = recipe("the sea")
    changed = [
        plain,
        recipe("the ocean"),
        replace(plain, index=1),
        replace(plain, seed=3),
        replace(plain, watermark=True),
    ]
    assert len({draw(one) for one in changed}) == len(changed)


@pytest.mark.parametrize("size", [(256, 256), (1024, 576), (64, 3000), (2048, 2048), (16, 16)])
@pytest.mark.parametrize("file_format", ["png", "jpeg", "webp"])
def test_sizes_and_formats(size, file_format):
    picture = Image.open(io.BytesIO(draw(recipe("waves", size, format=file_format))))
    picture.load()
    assert (picture.size, picture.format) == (size, file_format.upper())


async def test_the_gallery_draws_once_and_forgets_by_bytes():
    gallery = Gallery(bytes_max=150_000)
    await asyncio.gather(*(gallery.picture(recipe()) for _ in range(20)))
    assert gallery.drawn == 1
    started = time.process_time()
    for _ in range(100):
        await gallery.picture(recipe())
    assert (time.process_time() - started) / 100 < 0.001
    for index in range(1, 5):
        await gallery.picture(recipe(index=index))
    await gallery.picture(recipe())
    assert gallery.drawn == 6
    gallery.close()
