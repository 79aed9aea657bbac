"""Scenes under an open sky: mountains, sea, forest, desert and starry night."""

from __future__ import annotations

from math import cos, pi, sin

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from simulator.scenes.canvas import Canvas, Point, noise, vertical_mask
from simulator.scenes.palette import Colour, mixed

WHITE = (255, 255, 255)


def mountains(canvas: Canvas) -> None:
    """Receding ridges in coloured air, a low sun and mist in the valleys."""
    dice, palette = canvas.dice, canvas.palette
    canvas.gradient(palette.sky, 0, round(canvas.height * 0.72))
    _sun(canvas, dice.uniform(0.25, 0.75), dice.uniform(0.3, 0.45))
    canvas.clouds(0.06, 0.4, mixed(palette.sky[3], WHITE, 0.4), 0.55, stretch=4, cover=0.52)
    layers = dice.randint(5, 6)
    base = dice.uniform(0.44, 0.5)
    snow = bool(canvas.words & {"snow", "snowy", "winter", "alps", "himalaya", "peak", "peaks", "frozen"})
    for layer in range(layers):
        depth = layer / (layers - 1)
        tone = mixed(palette.haze, palette.dark, depth**1.15)
        line = canvas.ridge(base + depth * 0.42, 0.15 - 0.07 * depth, detail=6 if depth < 0.7 else 7)
        foot = mixed(tone, palette.sky[3], 0.5 * (1 - depth))
        crest = mixed(tone, WHITE, 0.75) if snow and depth < 0.5 else tone
        canvas.ground(line, (crest, tone, foot, foot))
        if depth < 0.9:
            canvas.clouds(base + depth * 0.42 + 0.03, base + depth * 0.42 + 0.2, palette.sky[3], 0.42 * (1 - depth))
        if layer == layers - 1:
            for x, y in line[:: dice.randint(5, 8)]:
                if dice.random() < 0.8:
                    pine(canvas, x, y + 4, canvas.unit * dice.uniform(0.04, 0.11), palette.dark)
    _birds(canvas, 0.16, 0.36)


def sea(canvas: Canvas) -> None:
    """A horizon, water that carries the light, far islands and perhaps a sail."""
    dice, palette = canvas.dice, canvas.palette
    horizon = round(canvas.height * dice.uniform(0.48, 0.56))
    canvas.gradient(palette.sky, 0, horizon)
    sun_x = dice.uniform(0.3, 0.7)
    _sun(canvas, sun_x, horizon / canvas.height - dice.uniform(0.06, 0.16))
    canvas.clouds(0.04, 0.42, mixed(palette.sky[3], WHITE, 0.45), 0.7, stretch=5, cover=0.5)
    far = mixed(palette.haze, palette.dark, 0.35)
    island = canvas.ridge(horizon / canvas.height - 0.015, 0.07, detail=5)
    canvas.ground(island, (far, mixed(far, palette.haze, 0.6)))
    water = (
        mixed(palette.sky[3], palette.sky[2], 0.5),
        palette.sky[2],
        palette.sky[1],
        mixed(palette.sky[0], palette.dark, 0.4),
    )
    canvas.gradient([mixed(colour, palette.sky[0], 0.25) for colour in water], horizon)
    _ripples(canvas, horizon, sun_x * canvas.width)
    if dice.random() < 0.75 or canvas.words & {"boat", "sail", "sailing", "ship", "yacht"}:
        _sail(canvas, dice.uniform(0.15, 0.85) * canvas.width, horizon + canvas.unit * dice.uniform(0.04, 0.14))
    if canvas.words & {"beach", "shore", "coast", "tropical", "island"}:
        sand = mixed((240, 214, 170), palette.haze, 0.35)
        line = canvas.ridge(0.9, 0.035, detail=3)
        foam = [(x, y - canvas.unit * 0.014) for x, y in line]
        canvas.ground(foam, (mixed(WHITE, palette.sky[3], 0.2),))
        canvas.ground(line, (sand, mixed(sand, palette.dark, 0.35)))
    _birds(canvas, 0.14, 0.34)


def forest(canvas: Canvas) -> None:
    """Rows of conifers that fade into fog, before a pale light."""
    dice, palette = canvas.dice, canvas.palette
    canvas.gradient((palette.sky[1], palette.sky[2], palette.sky[3], palette.haze))
    light_x = dice.uniform(0.3, 0.7) * canvas.width
    canvas.glow(light_x, canvas.height * 0.2, canvas.unit * 0.75, palette.light, 0.95)
    layers = 5
    for layer in range(layers):
        depth = layer / (layers - 1)
        tone = mixed(mixed(palette.haze, palette.sky[3], 0.45), palette.dark, depth**1.1)
        level = 0.5 + 0.4 * depth
        line = canvas.ridge(level, 0.05, detail=4)
        tall = canvas.unit * (0.18 + 0.34 * depth)
        x = -tall * 0.2
        while x < canvas.width + tall * 0.2:
            foot = line[min(len(line) - 1, max(0, int(x / canvas.width * len(line))))][1]
            pine(canvas, x, foot + tall * 0.08, tall * dice.uniform(0.6, 1.2), tone)
            x += tall * dice.uniform(0.16, 0.42) * (1 + 0.8 * depth)
        canvas.ground(line, (tone, mixed(tone, palette.haze, 0.35 * (1 - depth))))
        if layer < layers - 1:
            canvas.clouds(
                level - 0.12, level + 0.16, mixed(palette.sky[3], palette.light, 0.5), 0.5 * (1 - depth) + 0.1
            )


def desert(canvas: Canvas) -> None:
    """Dunes with a lit and a shaded flank under a pale sky."""
    dice, palette = canvas.dice, canvas.palette
    canvas.gradient(palette.sky, 0, round(canvas.height * 0.6))
    _sun(canvas, dice.uniform(0.2, 0.8), dice.uniform(0.2, 0.34))
    canvas.clouds(0.05, 0.35, WHITE, 0.35, stretch=5)
    for layer in range(5):
        depth = layer / 4
        lit = mixed(palette.haze, palette.accent, 0.25 + 0.5 * depth)
        line = canvas.ridge(0.5 + depth * 0.36, 0.11, detail=2)
        canvas.ground(line, (mixed(lit, palette.light, 0.35), lit, mixed(lit, palette.dark, 0.3)))
        summit = min(range(4, len(line) - 4), key=lambda index: line[index][1])
        drift = dice.uniform(0.5, 1.1) * (1 if summit < len(line) / 2 else -1)
        fall = canvas.height * (0.1 + 0.16 * depth)
        shaded = line[summit:] if drift > 0 else line[: summit + 1]
        x, y = line[summit]
        curve = [
            (x + drift * fall * (0.35 * sin(t / 10 * 2 * pi) + 1.7 * t / 10), y + fall * t / 10) for t in range(11)
        ]
        far = shaded[-1] if drift > 0 else shaded[0]
        skyline = shaded if drift > 0 else shaded[::-1]
        shade = mixed(lit, palette.dark, 0.42)
        canvas.shape(
            [*skyline, (far[0], curve[-1][1] + fall), *reversed(curve)],
            (shade, mixed(shade, lit, 0.45), lit),
            opacity=0.8,
        )
    _birds(canvas, 0.15, 0.3)


def night(canvas: Canvas) -> None:
    """Stars, a luminous band across the sky, the moon and quiet hills."""
    dice, palette = canvas.dice, canvas.palette
    canvas.gradient((palette.sky[0], palette.sky[1], palette.sky[2], palette.sky[3]), 0, round(canvas.height * 0.86))
    band = noise(dice, (5, 5), canvas.image.size, octaves=4)
    diagonal = round((canvas.width**2 + canvas.height**2) ** 0.5) + 4
    veil = vertical_mask((diagonal, diagonal), lambda at: max(0.0, 1 - abs(at - 0.46) * 4.2) ** 1.5)
    veil = veil.rotate(dice.choice((-1, 1)) * dice.uniform(18, 42), resample=Image.Resampling.BILINEAR)
    left, top = (diagonal - canvas.width) // 2, (diagonal - canvas.height) // 2
    veil = veil.crop((left, top, left + canvas.width, top + canvas.height))
    band = band.point([round(max(0, value - 70) * 1.1) if value < 230 else 176 for value in range(256)])
    canvas.image.paste(mixed(palette.sky[3], (190, 130, 210), 0.45), (0, 0), ImageChops.multiply(band, veil))
    _stars(canvas, round(canvas.width * canvas.height / 1400))
    if canvas.words & {"aurora", "northern", "borealis"}:
        for colour in ((90, 240, 170), (120, 150, 255)):
            canvas.clouds(0.08, 0.62, colour, 0.6, stretch=0.5, cover=0.5)
    moon_x, moon_y = dice.uniform(0.22, 0.78) * canvas.width, dice.uniform(0.16, 0.32) * canvas.height
    radius = canvas.unit * dice.uniform(0.045, 0.075)
    canvas.glow(moon_x, moon_y, radius * 6, palette.light, 0.5)
    canvas.disc(moon_x, moon_y, radius, palette.light)
    for _ in range(5):
        turn, reach = dice.uniform(0, 2 * pi), dice.uniform(0, 0.62)
        canvas.disc(
            moon_x + cos(turn) * radius * reach,
            moon_y + sin(turn) * radius * reach,
            radius * dice.uniform(0.08, 0.24),
            mixed(palette.light, palette.sky[2], 0.3),
            0.5,
        )
    for layer in range(4):
        depth = layer / 3
        tone = mixed(palette.sky[2], palette.dark, 0.3 + 0.7 * depth)
        line = canvas.ridge(0.66 + 0.24 * depth, 0.12 - 0.05 * depth)
        canvas.ground(line, (tone, mixed(tone, palette.haze, 0.25 * (1 - depth))))
        if layer == 3:
            for x, y in line[::6]:
                pine(canvas, x, y + 4, canvas.unit * dice.uniform(0.03, 0.09), palette.dark)


def pine(canvas: Canvas, x: float, foot: float, tall: float, colour: Colour) -> None:
    """One conifer, its foot at (x, foot)."""
    dice = canvas.dice
    tiers = 5 if tall < canvas.unit * 0.12 else 9
    left: list[Point] = []
    right: list[Point] = []
    for tier in range(tiers):
        share = (tier + 1) / tiers
        reach = tall * 0.2 * share * dice.uniform(0.8, 1.15)
        level = foot - tall * (1 - share * 0.9)
        left += [(x - reach, level), (x - reach * 0.45, level - tall * 0.015)]
        right += [(x + reach, level), (x + reach * 0.45, level - tall * 0.015)]
    trunk = tall * 0.02
    outline = [
        (x, foot - tall),
        *left,
        (x - trunk, foot - tall * 0.08),
        (x - trunk, foot),
        (x + trunk, foot),
        (x + trunk, foot - tall * 0.08),
        *reversed(right),
    ]
    canvas.shape(outline, (colour,))


def _sun(canvas: Canvas, x: float, y: float) -> None:
    at_x, at_y = x * canvas.width, y * canvas.height
    palette = canvas.palette
    canvas.glow(at_x, at_y, canvas.unit * 0.85, mixed(palette.light, palette.sky[3], 0.4), 0.75)
    canvas.glow(at_x, at_y, canvas.unit * 0.26, palette.light, 0.85)
    canvas.disc(at_x, at_y, canvas.unit * canvas.dice.uniform(0.05, 0.075), palette.light)


def _stars(canvas: Canvas, count: int) -> None:
    dice = canvas.dice
    pen = ImageDraw.Draw(canvas.image)
    for _ in range(count):
        x, y = dice.randrange(canvas.width), int(canvas.height * 0.8 * dice.random() ** 1.2)
        shine = dice.random() ** 3
        tint = mixed((170, 190, 255), (255, 236, 206), dice.random())
        pen.point((x, y), fill=mixed(canvas.palette.sky[1], tint, 0.35 + 0.65 * shine))
        if shine > 0.8:
            canvas.glow(x, y, canvas.unit * 0.008 + 2, tint, 0.9)


def _ripples(canvas: Canvas, horizon: int, light_x: float) -> None:
    dice, palette = canvas.dice, canvas.palette
    depth_pixels = canvas.height - horizon
    overlay = canvas.image.copy()
    pen = ImageDraw.Draw(overlay)
    for _ in range(420):
        depth = dice.random() ** 1.5
        y = horizon + 1 + depth * depth_pixels
        near = dice.random() < 0.6
        spread = canvas.unit * (0.03 + 0.16 * depth)
        x = dice.gauss(light_x, spread) if near else dice.uniform(-0.1, 1.1) * canvas.width
        length = canvas.unit * (0.008 + 0.07 * depth) * dice.uniform(0.4, 1.3)
        thick = max(1.0, canvas.unit * 0.006 * depth)
        shade = palette.light if near else mixed(palette.sky[0], palette.dark, dice.random() * 0.5)
        pen.ellipse((x - length, y - thick / 2, x + length, y + thick / 2), fill=shade)
    canvas.image.paste(
        overlay, (0, 0), vertical_mask(canvas.image.size, lambda at: 0.62 if at * canvas.height > horizon else 0)
    )
    strip = canvas.image.crop((0, horizon, canvas.width, canvas.height)).filter(ImageFilter.BoxBlur(canvas.unit / 900))
    canvas.image.paste(strip, (0, horizon))


def _sail(canvas: Canvas, x: float, y: float) -> None:
    size = canvas.unit * canvas.dice.uniform(0.05, 0.09)
    dark, white = canvas.palette.dark, mixed(WHITE, canvas.palette.sky[3], 0.35)
    canvas.shape(
        [(x, y - size * 1.7), (x + size * 0.75, y - size * 0.22), (x, y - size * 0.22)],
        (white, mixed(white, dark, 0.25)),
    )
    canvas.shape(
        [(x - size * 0.06, y - size * 1.5), (x - size * 0.5, y - size * 0.22), (x - size * 0.06, y - size * 0.22)],
        (mixed(white, dark, 0.2),),
    )
    canvas.shape(
        [
            (x - size * 0.7, y - size * 0.15),
            (x + size * 0.9, y - size * 0.15),
            (x + size * 0.6, y + size * 0.1),
            (x - size * 0.5, y + size * 0.1),
        ],
        (dark,),
    )
    canvas.shape(
        [(x - size * 0.5, y + size * 0.12), (x + size * 0.6, y + size * 0.12), (x + size * 0.2, y + size * 0.9)],
        (dark,),
        opacity=0.22,
    )


def _birds(canvas: Canvas, top: float, bottom: float) -> None:
    dice = canvas.dice
    if dice.random() < 0.35:
        return
    x, y = dice.uniform(0.15, 0.75) * canvas.width, dice.uniform(top, bottom) * canvas.height
    tone = mixed(canvas.palette.dark, canvas.palette.haze, 0.25)
    for _ in range(dice.randint(3, 7)):
        size = canvas.unit * dice.uniform(0.008, 0.016)
        at_x, at_y = x + dice.gauss(0, canvas.unit * 0.07), y + dice.gauss(0, canvas.unit * 0.03)
        wing = [
            (at_x - size, at_y - size * 0.5),
            (at_x - size * 0.4, at_y - size * 0.55),
            (at_x, at_y),
            (at_x + size * 0.4, at_y - size * 0.55),
            (at_x + size, at_y - size * 0.5),
            (at_x + size * 0.35, at_y - size * 0.3),
            (at_x, at_y + size * 0.22),
            (at_x - size * 0.35, at_y - size * 0.3),
        ]
        canvas.shape(wing, (tone,), smooth=4)
