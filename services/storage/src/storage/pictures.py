"""What a picture is: decided by decoding it, never by what was said about it. Pillow only, so that a process can start
with nothing else."""

import threading
from contextlib import nullcontext
from dataclasses import dataclass
from io import BytesIO
from typing import IO, Any

from PIL import Image, ImageOps, UnidentifiedImageError

from storage.png import is_whole, pixels

MAX_PIXELS = 64_000_000
"""Checked in the header, before anything is decoded. At 4 bytes each: 256 MB."""
LARGE_PIXELS = 8_000_000
"""Above this, one picture is decoded at a time."""
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
_DAMAGED = "the picture is damaged or incomplete"
_ORIENTATION = 0x0112
_TURNED = {5, 6, 7, 8}
_OTHERWISE = {2, 3, 4, *_TURNED}
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
            orientation = image.getexif().get(_ORIENTATION, 1) if image.info.get("exif") else 1
            if orientation in _TURNED:
                width, height = height, width
            return Picture(_TYPES[image.format or ""], width, height, orientation not in _OTHERWISE)
    except Unusable:
        raise
    except Exception as error:  # decoders of hostile bytes raise anything
        raise _unusable(error) from error


def shrink(content: bytes, longest_side: int | None) -> bytes:
    """A WebP whose longest side is at most `longest_side` pixels: upright, and without metadata.

    Raises:
        Unusable: as `inspect`.
    """
    try:
        with Image.open(BytesIO(content), formats=_FORMATS) as image:
            _check_size(image)
            if longest_side is not None:
                image.draft("RGB", (2 * longest_side, 2 * longest_side))  # a JPEG is decoded no larger than needed
                image.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
            image.load()
            upright = ImageOps.exif_transpose(image)
            small = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
        small.info.clear()  # not every version of Pillow leaves it out by itself
        output = BytesIO()
        small.save(output, "WEBP", quality=QUALITY)
        return output.getvalue()
    except Unusable:
        raise
    except Exception as error:
        raise _unusable(error) from error


def redraw(content: bytes, size: tuple[int, int] | None = None) -> bytes:
    """The same picture in the same format: upright, without metadata, and of exactly that size where one is given.

    It is scaled until it covers the size, then cut off on both sides alike. Of what moves the first frame is kept.
    A GIF becomes a PNG and an AVIF a WebP: what is kept is what every client shows.

    Raises:
        Unusable: as `inspect`.
    """
    from PIL import AvifImagePlugin  # only where pictures are made anew

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # a thread for each core would be address space for each core
    try:
        with Image.open(BytesIO(content), formats=_REDRAWN) as image:
            _check_size(image)
            format_, profile = image.format or "", image.info.get("icc_profile")
            image.load()
            upright = ImageOps.exif_transpose(image)
            if upright.mode == "P":
                upright = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
            if size is not None:
                upright = ImageOps.fit(upright, size, Image.Resampling.LANCZOS)
        upright.info.clear()
        output = BytesIO()
        upright.save(output, _KEPT_AS[format_], icc_profile=profile, **_BEST.get(format_, {}))
        return output.getvalue()
    except Unusable:
        raise
    except Exception as error:
        raise _unusable(error) from error


def blurhash(content: bytes) -> str:
    """A few dozen characters that a page can paint before the picture is there."""
    from blurhash import encode  # the service itself never needs it

    with Image.open(BytesIO(content), formats=_FORMATS) as image:
        tiny = image.convert("RGB")
    tiny.thumbnail((BLURHASH_PIXELS, BLURHASH_PIXELS))
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


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise Unusable(f"the picture has more than {MAX_PIXELS // 1_000_000} million pixels")


def _unusable(error: Exception) -> Unusable:
    if isinstance(error, OSError) and error.errno is not None:
        raise error  # the disk, not the picture
    if isinstance(error, UnidentifiedImageError):
        return Unusable("the content is no PNG, JPEG, WebP, GIF or AVIF picture")
    if isinstance(error, Image.DecompressionBombError):
        return Unusable(f"the picture has more than {MAX_PIXELS // 1_000_000} million pixels")
    return Unusable(_DAMAGED)
