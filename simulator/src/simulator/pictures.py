"""Pictures and films as bytes: a recipe names one picture, `draw` makes it, the gallery keeps what was drawn lately."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache
from random import Random

from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

from simulator.films import film, last_frame, wide_enough
from simulator.scenes import paint
from simulator.scenes.canvas import grained

WORKING_SIDE_PIXELS, WORKING_SHARE = 1024, 0.5
"""Scenes are painted at half their size, and no larger than this, and enlarged, so that a picture stays affordable."""
GALLERY_BYTES_MAX = 256 * 1024 * 1024
DRAWING_THREADS = 2
PNG_COLOURS = 256
PNG_GRAIN, GRAIN = 4, 7
"""In levels. The PNG's is finer: with its palette it decides the weight, about 60 kB at 512x512."""
PROMPT_SHARE = 0.3
"""How much of a picture that starts from a given one is the prompt's."""
BOMB_SIDE_PIXELS = 50_000
FORBIDDEN, FORBIDDEN_SHARE = (255, 0, 255), 4
"""What stands for something forbidden: a corner of this colour, so large a share of each side."""
WRONG_SIZE_PIXELS = 96
CONTENT_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "mp4": "video/mp4"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides the bytes of one picture. `flaw` is the name of a content fault, empty for a sound one."""

    prompt: str
    width: int
    height: int
    index: int
    seed: int
    format: str
    quality: int = 90
    watermark: bool = False
    transparent: bool = False
    flaw: str = ""
    seconds: int = 0
    """Of a film; 0 for what does not move."""
    sound: bool = False
    given: bytes = field(default=b"", repr=False)
    """The small picture that it starts from."""
    poster: bool = False
    """Whether it is the last frame of the film instead of the film."""


class Gallery:
    """Draws off the event loop, once per recipe, and forgets the least recently used past a number of bytes."""

    def __init__(self, bytes_max: int = GALLERY_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: OrderedDict[Recipe, bytes] = OrderedDict()
        self._encoded: OrderedDict[Recipe, bytes] = OrderedDict()
        self._drawing: dict[Recipe, asyncio.Future[bytes]] = {}
        self._threads = ThreadPoolExecutor(DRAWING_THREADS, thread_name_prefix="drawing")
        self.drawn = 0

    async def made(self, make: Callable[[], bytes]) -> bytes:
        """What is no picture, made where pictures are drawn and not kept."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, make)

    async def encoded(self, recipe: Recipe) -> bytes:
        """The picture as base64, kept like the picture itself."""
        kept = self._encoded.get(recipe)
        if kept is not None:
            self._encoded.move_to_end(recipe)
            return kept
        encoded = base64.b64encode(await self.picture(recipe))
        if recipe not in self._encoded:
            self._encoded[recipe] = encoded
            self._bytes += len(encoded)
            self._forget()
        return encoded

    async def picture(self, recipe: Recipe) -> bytes:
        kept = self._kept.get(recipe)
        if kept is not None:
            self._kept.move_to_end(recipe)
            return kept
        drawing = self._drawing.get(recipe)
        if drawing is None:
            drawing = asyncio.get_running_loop().run_in_executor(self._threads, draw, recipe)
            self._drawing[recipe] = drawing
            drawing.add_done_callback(lambda done: self._keep(recipe, done))
        return await asyncio.shield(drawing)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _keep(self, recipe: Recipe, drawing: asyncio.Future[bytes]) -> None:
        del self._drawing[recipe]
        if drawing.cancelled() or drawing.exception() is not None:
            return
        self.drawn += 1
        self._kept[recipe] = drawing.result()
        self._bytes += len(drawing.result())
        self._forget()

    def _forget(self) -> None:
        while self._bytes > self._bytes_max and (len(self._kept) > 1 or len(self._encoded) > 1):
            fuller = max(self._kept, self._encoded, key=len)
            self._bytes -= len(fuller.popitem(last=False)[1])


def draw(recipe: Recipe) -> bytes:
    """The encoded picture, or the flawed bytes its recipe asks for."""
    match recipe.flaw:
        case "asset-empty":
            return b""
        case "asset-html":
            return b"<!doctype html><html><head><title>502</title></head><body>bad gateway</body></html>"
        case "asset-bomb":
            return _bomb(BOMB_SIDE_PIXELS)
        case "asset-wrong-size":
            return _sound(replace(recipe, width=WRONG_SIZE_PIXELS, height=WRONG_SIZE_PIXELS))
        case "asset-corrupt":
            sound = _sound(recipe)
            header = min(len(sound) // 2, 700)
            return sound[:header] + Random(recipe.seed).randbytes(len(sound) - header)
        case _:
            return _sound(recipe)


def _sound(recipe: Recipe) -> bytes:
    if not recipe.seconds:
        return _encoded(_composed(recipe, recipe.width, recipe.height), recipe)
    wide = wide_enough(recipe.width, recipe.height)
    scene = _scene(recipe, *wide, min(1.0, WORKING_SIDE_PIXELS / 2 / max(wide)))
    if recipe.flaw == "asset-forbidden":  # wherever the camera is
        scene.paste(FORBIDDEN, (0, 0, scene.width // 2, scene.height // FORBIDDEN_SHARE))
    if recipe.poster:
        return _encoded(last_frame(scene, recipe.width, recipe.height), recipe)
    return film(scene, recipe.width, recipe.height, recipe.seconds, _dice_seed(recipe) if recipe.sound else None)


def _scene(recipe: Recipe, width: int, height: int, scale: float) -> Image.Image:
    size = max(16, round(width * scale)), max(16, round(height * scale))
    image = paint(recipe.prompt, *size, _dice_seed(recipe))
    if recipe.given:
        with Image.open(io.BytesIO(recipe.given)) as opened:
            start = ImageOps.fit(opened.convert("RGB"), size)
        image = Image.blend(start, image, PROMPT_SHARE)
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.BICUBIC)


def _composed(recipe: Recipe, width: int, height: int) -> Image.Image:
    image = _scene(recipe, width, height, min(WORKING_SHARE, WORKING_SIDE_PIXELS / max(width, height)))
    image = grained(image, PNG_GRAIN if recipe.format == "png" else GRAIN, Random(_dice_seed(recipe)))
    if recipe.watermark:
        _sign(image)
    if recipe.flaw == "asset-forbidden":
        image.paste(FORBIDDEN, (0, 0, image.width // FORBIDDEN_SHARE, image.height // FORBIDDEN_SHARE))
    if recipe.transparent:
        image.putalpha(_cut_out(image.size))
    return image


def _encoded(image: Image.Image, recipe: Recipe) -> bytes:
    buffer = io.BytesIO()
    if recipe.format == "png":
        if image.mode == "RGB":
            image = image.quantize(PNG_COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        image.save(buffer, "PNG", compress_level=4)
    elif recipe.format == "webp":
        image.save(buffer, "WEBP", quality=recipe.quality, method=1)
    else:
        image.save(buffer, "JPEG", quality=recipe.quality)
    return buffer.getvalue()


def _dice_seed(recipe: Recipe) -> int:
    text = f"{recipe.width}x{recipe.height}|{recipe.index}|{recipe.seed}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest())


def _sign(image: Image.Image) -> None:
    font, unit = _font(max(10, min(image.size) // 36)), min(image.size)
    pen = ImageDraw.Draw(image)
    at = (image.width - unit / 40, image.height - unit / 40)
    pen.text((at[0] + 1, at[1] + 1), "AI generated", font=font, fill=(0, 0, 0), anchor="rs")
    pen.text(at, "AI generated", font=font, fill=(255, 255, 255), anchor="rs")


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _cut_out(size: tuple[int, int]) -> Image.Image:
    small = (max(16, size[0] // 4), max(16, size[1] // 4))
    mask = Image.new("L", small)
    edge = min(small) // 12
    ImageDraw.Draw(mask).rounded_rectangle((edge, edge, small[0] - edge, small[1] - edge), edge * 2, fill=255)
    return mask.filter(ImageFilter.BoxBlur(edge / 3)).resize(size, Image.Resampling.BILINEAR)


def _bomb(side: int) -> bytes:
    """A few hundred bytes of PNG whose header claims `side` by `side` pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(side + 1) * 4, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
