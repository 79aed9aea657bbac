"""Scenes made of things: a city, a flower, a portrait, and free compositions for every other prompt."""

from __future__ import annotations

from math import cos, pi, sin

from PIL import Image, ImageDraw, ImageFilter

from simulator.scenes.canvas import Canvas, Point, vertical
from simulator.scenes.palette import Colour, mixed

WHITE = (255, 255, 255)


def city(canvas: Canvas) -> None:
    """Three rows of towers with lit windows above their reflection."""
    dice, palette = canvas.dice, canvas.palette
    shore = round(canvas.height * 0.78)
    canvas.gradient(palette.sky, 0, shore)
    sun_x, sun_y = dice.uniform(0.25, 0.75) * canvas.width, canvas.height * dice.uniform(0.2, 0.45)
    canvas.glow(sun_x, sun_y, canvas.unit * 0.7, palette.light, 0.6)
    canvas.disc(sun_x, sun_y, canvas.unit * 0.09, palette.light)
    canvas.clouds(0.05, 0.45, mixed(palette.sky[3], WHITE, 0.25), 0.5, stretch=5)
    for layer in range(3):
        depth = layer / 2
        tone = mixed(palette.haze, palette.dark, 0.2 + 0.75 * depth)
        x = -canvas.unit * 0.02
        while x < canvas.width:
            wide = canvas.unit * dice.uniform(0.05, 0.12)
            middle = 1 - abs((x + wide / 2) / canvas.width - 0.5)
            tall = canvas.height * (dice.uniform(0.12, 0.42) * middle * (1.25 - 0.45 * depth) + 0.1 * (1 - depth))
            _tower(canvas, x, shore, (wide, tall), tone, lit=0.15 + 0.5 * depth)
            x += wide * dice.uniform(0.86, 1.15)
        canvas.clouds(0.6, 0.84, mixed(palette.haze, palette.sky[3], 0.5), 0.35 * (1 - depth))
    below = canvas.height - shore
    mirror = canvas.image.crop((0, shore - below, canvas.width, shore)).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    mirror = mirror.filter(ImageFilter.BoxBlur((canvas.unit / 300, canvas.unit / 90)))
    tint = vertical(mirror.size, (palette.haze, palette.dark))
    canvas.image.paste(Image.blend(mirror, tint, 0.4), (0, shore))
    pen = ImageDraw.Draw(canvas.image)
    for _ in range(70):
        y = shore + dice.random() ** 1.4 * below
        length = canvas.unit * dice.uniform(0.01, 0.06)
        x = dice.uniform(0, canvas.width)
        pen.line((x, y, x + length, y), fill=mixed(palette.haze, palette.light, dice.random() * 0.5))


def flower(canvas: Canvas) -> None:
    """One bloom, or a few, before a blurred garden."""
    dice, palette = canvas.dice, canvas.palette
    canvas.gradient(
        [mixed(colour, palette.haze, 0.25) for colour in (palette.sky[1], palette.sky[2], palette.haze, palette.dark)]
    )
    for _ in range(16):
        tone = mixed(dice.choice((palette.accent, palette.sky[3], palette.light, palette.haze)), palette.sky[2], 0.35)
        canvas.disc(
            dice.uniform(0, canvas.width),
            dice.uniform(0, canvas.height),
            canvas.unit * dice.uniform(0.03, 0.12),
            tone,
            0.3,
        )
    soft = canvas.image.reduce(4).filter(ImageFilter.GaussianBlur(canvas.unit / 160))
    canvas.image.paste(soft.resize(canvas.image.size, Image.Resampling.BICUBIC))
    leaf = mixed((56, 110, 70), palette.dark, 0.35)
    blooms = [(0.5 + dice.uniform(-0.06, 0.06), 0.4, dice.uniform(0.25, 0.29))]
    if "flowers" in canvas.words or "bouquet" in canvas.words or "garden" in canvas.words or dice.random() < 0.6:
        blooms = [
            (dice.uniform(0.14, 0.24), 0.58, 0.15),
            (dice.uniform(0.76, 0.86), dice.uniform(0.5, 0.6), 0.17),
            *blooms,
        ]
    for x, y, size in blooms:
        _bloom(canvas, x * canvas.width, y * canvas.height, size * canvas.unit, leaf)


def portrait(canvas: Canvas) -> None:
    """A stylised figure in flat, soft-lit planes before a halo of colour."""
    dice, palette = canvas.dice, canvas.palette
    canvas.gradient((mixed(palette.sky[1], palette.dark, 0.2), palette.sky[2], palette.haze))
    unit, middle = canvas.unit, canvas.width / 2 + dice.uniform(-0.03, 0.03) * canvas.unit
    eye = canvas.height * 0.42
    canvas.glow(middle, eye, unit * 0.75, palette.light, 0.5)
    canvas.disc(middle, eye, unit * 0.36, mixed(palette.sky[3], palette.accent, 0.35))
    canvas.disc(middle + unit * 0.05, eye - unit * 0.03, unit * 0.3, mixed(palette.light, palette.sky[3], 0.5), 0.55)
    skin = dice.choice(((236, 188, 158), (202, 146, 112), (150, 98, 72), (104, 66, 50), (246, 208, 184)))
    shade = mixed(skin, palette.dark, 0.35)
    hair = mixed(palette.dark, dice.choice(((60, 36, 28), (24, 20, 26), (150, 90, 50), (196, 160, 110))), 0.55)
    cloth = mixed(palette.accent, palette.dark, dice.uniform(0.15, 0.5))
    long_hair = dice.random() < 0.6 and not canvas.words & {"man", "boy", "king", "soldier"}
    if long_hair:
        canvas.shape(oval(middle, eye + unit * 0.06, unit * 0.185, unit * 0.29), (hair, mixed(hair, palette.dark, 0.5)))
    floor = canvas.height + 4.0
    shoulders = [
        (
            middle + unit * 0.43 * sin(t / 24 * pi - pi / 2),
            eye + unit * (0.5 - 0.24 * cos(t / 24 * pi - pi / 2) ** 0.55),
        )
        for t in range(25)
    ]
    canvas.shape(
        [(middle - unit * 0.46, floor), *shoulders, (middle + unit * 0.46, floor)],
        (mixed(cloth, palette.light, 0.2), cloth, mixed(cloth, palette.dark, 0.5)),
    )
    canvas.shape(
        [
            (middle - unit * 0.062, eye + unit * 0.08),
            (middle + unit * 0.062, eye + unit * 0.08),
            (middle + unit * 0.085, eye + unit * 0.27),
            (middle, eye + unit * 0.34),
            (middle - unit * 0.085, eye + unit * 0.27),
        ],
        (mixed(skin, shade, 0.8), mixed(skin, shade, 0.3)),
    )
    face = oval(middle, eye, unit * 0.125, unit * 0.165)
    canvas.shape(face, (skin, skin, mixed(skin, shade, 0.3)))
    canvas.shape(
        [point for point in face if point[0] <= middle - unit * 0.01]
        + [(middle + unit * 0.02, eye + unit * 0.16), (middle - unit * 0.03, eye)],
        (shade,),
        opacity=0.35,
    )
    canvas.shape(
        [
            (middle + unit * 0.008, eye - unit * 0.02),
            (middle + unit * 0.034, eye + unit * 0.05),
            (middle - unit * 0.004, eye + unit * 0.056),
        ],
        (shade,),
        opacity=0.5,
    )
    for side in (-1, 1):
        brow = middle + side * unit * 0.056
        canvas.shape(oval(brow, eye - unit * 0.03, unit * 0.03, unit * 0.006), (hair,))
        canvas.shape(oval(brow, eye - unit * 0.002, unit * 0.02, unit * 0.0075), (mixed(shade, palette.dark, 0.6),))
    canvas.shape(
        oval(middle + unit * 0.004, eye + unit * 0.09, unit * 0.032, unit * 0.0095),
        (mixed((186, 76, 80), shade, 0.35),),
    )
    crown = [
        (middle + unit * 0.142 * cos(pi + t / 20 * pi), eye - unit * 0.03 + unit * 0.165 * sin(pi + t / 20 * pi))
        for t in range(21)
    ]
    part = middle + unit * dice.choice((-0.05, 0.05))
    fringe = [
        (middle + unit * 0.128, eye + unit * 0.03),
        (middle + unit * 0.112, eye - unit * 0.055),
        (part, eye - unit * 0.112),
        (middle - unit * 0.112, eye - unit * 0.055),
        (middle - unit * 0.128, eye + unit * 0.03),
    ]
    canvas.shape([*crown, *fringe], (mixed(hair, palette.light, 0.14), hair))


def ribbons(canvas: Canvas) -> None:
    """Folded bands of colour, each casting a soft shadow on the one below."""
    dice, palette = canvas.dice, canvas.palette
    tones = [
        palette.sky[0],
        palette.sky[1],
        palette.accent,
        palette.sky[2],
        palette.haze,
        palette.sky[3],
        palette.light,
    ]
    if dice.random() < 0.5:
        tones.reverse()
    canvas.gradient((tones[0], mixed(tones[0], tones[1], 0.5)))
    lean = dice.uniform(-0.3, 0.3)
    bands = 8
    for band in range(bands):
        share = band / (bands - 1)
        line = canvas.ridge(0.1 + 0.84 * share, 0.16, detail=2, step=4)
        line = [(x, y + (x / canvas.width - 0.5) * lean * canvas.height) for x, y in line]
        position = share * (len(tones) - 2)
        tone = mixed(tones[int(position)], tones[int(position) + 1], position % 1)
        canvas.shadow(line, 0.036 * canvas.unit, 0.26)
        canvas.ground(
            line, (mixed(tone, WHITE, 0.16), tone, mixed(tone, palette.dark, 0.22), mixed(tone, palette.dark, 0.3))
        )


def orbs(canvas: Canvas) -> None:
    """Shaded spheres and thin arcs that float in coloured air."""
    dice, palette = canvas.dice, canvas.palette
    canvas.gradient(palette.sky)
    canvas.glow(canvas.width * dice.random(), canvas.height * dice.random(), canvas.unit * 0.9, palette.light, 0.6)
    canvas.clouds(0.0, 1.0, palette.haze, 0.55, stretch=1.4, cover=0.55)
    for number in range(dice.randint(7, 10)):
        radius = canvas.unit * (0.21 if number == 0 else dice.uniform(0.025, 0.12))
        x, y = dice.uniform(0.12, 0.88) * canvas.width, dice.uniform(0.12, 0.82) * canvas.height
        if number == 0:
            x, y = dice.uniform(0.38, 0.62) * canvas.width, dice.uniform(0.38, 0.58) * canvas.height
        tone = dice.choice(
            (palette.accent, palette.sky[1], palette.haze, palette.light, mixed(palette.accent, palette.sky[0], 0.5))
        )
        canvas.glow(x + radius * 0.2, y + radius * 0.5, radius * 1.8, palette.dark, 0.35)
        _sphere(canvas, x, y, radius, tone)
    pen = ImageDraw.Draw(canvas.image)
    for _ in range(3):
        reach = canvas.unit * dice.uniform(0.28, 0.6)
        x, y, start = canvas.width / 2, canvas.height / 2, dice.uniform(0, 360)
        pen.arc(
            (x - reach, y - reach, x + reach, y + reach),
            start,
            start + dice.uniform(60, 200),
            fill=palette.light,
            width=max(1, canvas.unit // 400),
        )


def oval(x: float, y: float, across: float, down: float, turn: float = 0.0, *, steps: int = 40) -> list[Point]:
    """The outline of an ellipse with the half axes `across` and `down`, turned by `turn` radians."""
    points: list[Point] = []
    for step in range(steps):
        angle = 2 * pi * step / steps
        a, b = across * cos(angle), down * sin(angle)
        points.append((x + a * cos(turn) - b * sin(turn), y + a * sin(turn) + b * cos(turn)))
    return points


def _sphere(canvas: Canvas, x: float, y: float, radius: float, tone: Colour) -> None:
    side = round(radius * 2) + 2
    mask = Image.new("L", (side * 2, side * 2))
    ImageDraw.Draw(mask).ellipse((2, 2, side * 2 - 3, side * 2 - 3), fill=255)
    ball = Image.new("RGB", (side, side), mixed(tone, canvas.palette.dark, 0.45))
    light = Image.radial_gradient("L").point([max(0, 255 - round(value * 1.15)) for value in range(256)])
    wide = round(side * 1.5)
    ball.paste(mixed(tone, WHITE, 0.3), (-round(side * 0.45), -round(side * 0.5)), light.resize((wide, wide)))
    canvas.image.paste(ball, (round(x - side / 2), round(y - side / 2)), mask.reduce(2))


def _tower(canvas: Canvas, x: float, foot: float, size: tuple[float, float], tone: Colour, *, lit: float) -> None:
    dice, palette = canvas.dice, canvas.palette
    pen = ImageDraw.Draw(canvas.image)
    wide, tall = size
    top = foot - tall
    canvas.shape(
        [(x, top), (x + wide, top), (x + wide, foot), (x, foot)], (tone, mixed(tone, palette.haze, 0.3)), smooth=1
    )
    if dice.random() < 0.35:
        pen.line(
            (x + wide / 2, top, x + wide / 2, top - canvas.unit * dice.uniform(0.02, 0.07)),
            fill=tone,
            width=max(1, canvas.unit // 300),
        )
    elif dice.random() < 0.4:
        step = wide * 0.22
        pen.rectangle((x + step, top - step * 0.8, x + wide - step, top), fill=tone)
    pitch = max(4.0, canvas.unit * 0.0125)
    warm = mixed(tone, palette.accent, lit)
    level = top + pitch
    while level < foot - pitch:
        spot = x + pitch * 0.7
        while spot < x + wide - pitch * 0.9:
            if dice.random() < 0.36:
                pen.rectangle(
                    (spot, level, spot + pitch * 0.42, level + pitch * 0.5),
                    fill=mixed(warm, palette.light, dice.random() * lit),
                )
            spot += pitch
        level += pitch * 1.15


def _bloom(canvas: Canvas, x: float, y: float, size: float, leaf: Colour) -> None:
    dice, palette = canvas.dice, canvas.palette
    sway = dice.uniform(-0.25, 0.25) * size
    floor = canvas.height + 6.0
    stem = [(x + sway * sin(t / 10 * pi), y + (floor - y) * t / 10) for t in range(11)]
    thick = max(1.5, size * 0.03)
    canvas.shape(
        [*[(a - thick, b) for a, b in stem], *[(a + thick, b) for a, b in reversed(stem)]],
        (mixed(leaf, palette.light, 0.15), leaf),
    )
    for side in (-1, 1):
        canvas.shape(
            oval(
                x + side * size * 0.42 + sway * 0.6,
                y + size * dice.uniform(1.3, 1.5),
                size * 0.46,
                size * 0.13,
                side * -0.55,
            ),
            (mixed(leaf, palette.light, 0.25), leaf),
        )
    petals = dice.randint(9, 13)
    for ring, (reach, wide) in enumerate(((0.62, 0.27), (0.46, 0.23), (0.3, 0.17))):
        for petal in range(petals):
            turn = 2 * pi * (petal + ring / 2) / petals + dice.uniform(-0.06, 0.06)
            shine = 0.5 - 0.5 * sin(turn)
            tone = mixed(
                mixed(palette.accent, palette.dark, 0.25 - 0.1 * ring),
                mixed(palette.accent, palette.light, 0.7),
                0.18 * ring + 0.55 * shine,
            )
            long = size * reach * 0.56 * dice.uniform(0.92, 1.06)
            centre = (x + cos(turn) * size * reach * 0.6, y + sin(turn) * size * reach * 0.6)
            edge = oval(*centre, long * 1.03, size * wide * 0.54, turn, steps=26)
            canvas.shape(edge, (mixed(tone, palette.dark, 0.3),), opacity=0.55)
            canvas.shape(
                oval(*centre, long, size * wide * 0.5, turn, steps=26), (mixed(tone, palette.light, 0.18), tone)
            )
    canvas.disc(x, y, size * 0.17, mixed(palette.dark, (120, 70, 20), 0.6))
    for _ in range(46):
        turn, reach = dice.uniform(0, 2 * pi), dice.random() ** 0.6 * size * 0.16
        canvas.disc(
            x + cos(turn) * reach,
            y + sin(turn) * reach,
            max(1.0, size * 0.014),
            mixed((246, 190, 70), palette.light, dice.random() * 0.5),
        )
