"""What a picture is: decided by decoding it, never by what was said about it. Pillow only, so that a process can start
with nothing else."""

import struct
import threading
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from io import BytesIO
from typing import IO, Any

from PIL import Image, ImageOps, UnidentifiedImageError

from storage.png import is_whole, pixels

MAX_PIXELS = 64_000_000
"""Checked in the header, before anything is decoded. At 4 bytes each: 256 MB."""
MAX_REDRAWN_PIXELS = 50_000_000
"""Of what has to be made anew, turned perhaps: two of them in memory are 400 MB."""
_DEAR = {"WEBP": 22_000_000, "AVIF": 22_000_000}
"""Pixels of formats whose decoders take 16 bytes for each: 352 MB."""
LARGE_PIXELS = 8_000_000
"""Above this, one picture is decoded at a time, and a JPEG is not encoded twice over to make it a little smaller."""
QUICK_BYTES = 256 * 1024
QUICK_PIXELS = 500_000
"""A PNG so small is checked in about the time that it takes to wake a thread for it."""
QUALITY = 82
BLURHASH_PIXELS = 32

_FORMATS = ("PNG", "JPEG", "WEBP")
_REDRAWN = (*_FORMATS, "GIF", "AVIF")
_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "MPO": "image/jpeg", "WEBP": "image/webp"}
_KEPT_AS = {"PNG": "PNG", "JPEG": "JPEG", "MPO": "JPEG", "WEBP": "WEBP", "GIF": "PNG", "AVIF": "WEBP"}
_BEST: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0, "progressive": True, "optimize": True},
    "MPO": {"quality": 95, "subsampling": 0, "progressive": True, "optimize": True},
    "WEBP": {"quality": 95},
    "AVIF": {"quality": 95},
}
"""A picture that has to be made anew is the original from then on."""
FULL_PIXELS = 25_000_000
"""Of a variant as large as the original: what a WebP is encoded of in the workshop's time and memory."""
WEBP_SIDE = 16_383
"""Pixels at most each way, as the format has it."""
PROFILE_BYTES = 16 * 1024
"""A profile of colours that is not larger goes along with every variant; those of cameras and screens have 4 KB."""
_PLAIN = {"L", "RGB", "RGBA"}
_DAMAGED = "the picture is damaged or incomplete"
_ORIENTATION = 0x0112
_TURNED = {5, 6, 7, 8}
_OTHERWISE = {2, 3, 4, *_TURNED}
_NOT_EXIF = (SyntaxError, struct.error)
"""What Pillow raises of metadata that it cannot read, or not write."""
_large = threading.Lock()


class Unusable(Exception):
    """These bytes are no picture that we keep; the message says why, in plain words."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What the content says about itself. Width and height in pixels, as a browser shows them."""

    mime_type: str
    width: int
    height: int
    is_upright: bool = True
    """Whether it may be shown without its metadata, which would tell how to turn it."""


def is_quick(content: IO[bytes], size: int) -> bool:
    """Whether `inspect` is no work for a thread of its own."""
    return size <= QUICK_BYTES and (pixels(content) or QUICK_PIXELS + 1) <= QUICK_PIXELS


def inspect(content: IO[bytes]) -> Picture:
    """Reads all of a PNG, JPEG or WebP file.

    Raises:
        Unusable: another format, too large, broken or incomplete.
        OSError: the bytes could not be read from where we keep them.
    """
    try:
        content.seek(0)
        with Image.open(content, formats=_FORMATS) as image:
            _check_size(image)
            width, height = image.size
            whole = is_whole(content) if image.format == "PNG" else None
            if whole is None:
                _decode(content, large=width * height > LARGE_PIXELS)
            elif not whole:
                raise Unusable(_DAMAGED)
            orientation = _orientation(image)
            if orientation in _TURNED:
                width, height = height, width
            return Picture(_TYPES[image.format or ""], width, height, orientation not in _OTHERWISE)
    except Unusable:
        raise
    except Exception as error:  # decoders of hostile bytes raise anything
        raise _unusable(error) from error


def shrink(content: bytes, longest_side: int | None) -> bytes:
    """A WebP whose longest side is at most `longest_side` pixels, or what a WebP can have: upright, and without
    metadata but for the profile of its colours.

    Raises:
        Unusable: as `inspect`.
    """
    try:
        with Image.open(BytesIO(content), formats=_FORMATS) as image:
            _check_size(image)
            side = longest_side or _full_side(image)
            image.draft("RGB", (2 * side, 2 * side))  # a JPEG is decoded no larger than needed
            eight = _in_8_bits(image)  # before it is made smaller, which Pillow cannot do by much to greys of 16 bits
            eight.thumbnail((side, side), Image.Resampling.LANCZOS)
            eight.load()
            profile = _profile(eight)
            small = _upright(eight)
        small.info.clear()  # not every version of Pillow leaves it out by itself
        output = BytesIO()
        small.save(output, "WEBP", quality=QUALITY, icc_profile=profile)
        return output.getvalue()
    except Unusable:
        raise
    except Exception as error:
        raise _unusable(error) from error


def redraw(content: bytes, size: tuple[int, int] | None = None) -> bytes:
    """The same picture in the same format: upright, without metadata, and of exactly that size where one is given.

    It is scaled until it covers the size, then cut off on both sides alike. Of what moves the first frame is kept.
    A GIF becomes a PNG and an AVIF a WebP, or a PNG where it is too long for that: what is kept is what every client
    shows.

    Raises:
        Unusable: as `inspect`.
    """
    from PIL import AvifImagePlugin  # only where pictures are made anew

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # a thread for each core would be address space for each core
    try:
        with Image.open(BytesIO(content), formats=_REDRAWN) as image:
            _check_size(image, MAX_REDRAWN_PIXELS)
            format_, profile = image.format or "", image.info.get("icc_profile")
            image.load()
            upright = _upright(image) if image.mode == "P" else _with_alpha(_turned(image))
            if size is not None:
                upright = ImageOps.fit(upright, size, Image.Resampling.LANCZOS)
        upright.info.clear()
        output = BytesIO()
        is_small = upright.width * upright.height <= LARGE_PIXELS
        options = _BEST.get(format_, {}) if is_small else {"quality": 95}
        kept_as = "PNG" if format_ == "AVIF" and max(upright.size) > WEBP_SIDE else _KEPT_AS[format_]
        upright.save(output, kept_as, icc_profile=profile, **options)
        return output.getvalue()
    except Unusable:
        raise
    except Exception as error:
        raise _unusable(error) from error


def blurhash(content: bytes) -> str:
    """A few dozen characters that a page can paint before the picture is there."""
    from blurhash import encode  # the service itself never needs it

    with Image.open(BytesIO(content), formats=_FORMATS) as image:
        image.draft("RGB", (BLURHASH_PIXELS, BLURHASH_PIXELS))
        small = image if image.mode in _PLAIN else _in_8_bits(image).convert("RGB")
        small.thumbnail((BLURHASH_PIXELS, BLURHASH_PIXELS))
        tiny = small.convert("RGB")
    wide = tiny.width >= tiny.height
    return str(encode(tiny, x_components=4 if wide else 3, y_components=3 if wide else 4))


def _decode(content: IO[bytes], *, large: bool) -> None:
    content.seek(0)
    with Image.open(content, formats=_FORMATS) as image:
        image.verify()
    content.seek(0)
    with Image.open(content, formats=_FORMATS) as image, _large if large else nullcontext():
        image.draft("RGB", (1, 1))  # all of a JPEG is read, but only an eighth of its sides is computed
        image.load()


def _upright(image: Image.Image) -> Image.Image:
    """The right way up, and of a mode that every encoder takes; a large picture is not copied for nothing."""
    turned = _in_8_bits(_turned(image))
    mode = "RGBA" if turned.has_transparency_data else "RGB"
    return turned if turned.mode == mode else turned.convert(mode)


def _with_alpha(image: Image.Image) -> Image.Image:
    """Where one colour of a PNG stands for nothing, that is said in its metadata, which do not stay."""
    if "transparency" not in image.info or image.mode in {"LA", "RGBA"}:
        return image
    eight = _in_8_bits(image)
    return eight.convert("RGBA" if eight.mode == "RGB" else "LA")


def _in_8_bits(image: Image.Image) -> Image.Image:
    """Greys of 16 bits are cut off at 255 by Pillow, which makes them white."""
    if not image.mode.startswith("I"):
        return image
    eight = image.point(lambda value: value * (1 / 257) + 0.5).convert("L")
    if "transparency" in eight.info:
        eight.info["transparency"] //= 257
    return eight


def _full_side(image: Image.Image) -> int:
    """The longest that a variant of the same size may have, in pixels."""
    longest = max(image.size)
    return min(longest, WEBP_SIDE, int(longest * (FULL_PIXELS / (image.width * image.height)) ** 0.5))


def _profile(image: Image.Image) -> bytes | None:
    """The profile of a picture's colours, where it is small and one for red, green and blue (ICC.1, 7.2.6)."""
    profile: bytes = image.info.get("icc_profile") or b""
    return profile if len(profile) <= PROFILE_BYTES and profile[16:20] == b"RGB " else None


def _orientation(image: Image.Image) -> int:
    """As EXIF counts; 1, as it is, where the metadata cannot be read, which is no fault of the picture."""
    try:
        said: int = image.getexif().get(_ORIENTATION, 1) if image.info.get("exif") else 1
    except _NOT_EXIF:
        return 1
    return said


def _turned(image: Image.Image) -> Image.Image:
    with suppress(*_NOT_EXIF):  # the picture is turned before its metadata is written again
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _check_size(image: Image.Image, max_pixels: int = MAX_PIXELS) -> None:
    max_pixels = min(max_pixels, _DEAR.get(image.format or "", max_pixels))
    if image.width * image.height > max_pixels:
        raise Unusable(f"the picture has more than {max_pixels // 1_000_000} million pixels")


def _unusable(error: Exception) -> Unusable:
    if isinstance(error, OSError) and error.errno is not None:
        raise error  # the disk, not the picture
    if isinstance(error, UnidentifiedImageError):
        return Unusable("the content is no PNG, JPEG, WebP, GIF or AVIF picture")
    if isinstance(error, Image.DecompressionBombError):
        return Unusable(f"the picture has more than {MAX_PIXELS // 1_000_000} million pixels")
    return Unusable(_DAMAGED)
