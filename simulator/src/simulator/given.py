"""Pictures that a caller gives: read as strictly as a vendor reads them, kept small."""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections.abc import Awaitable, Callable

from PIL import Image

SIDE_PIXELS_MAX = 640
PIXELS_MAX = 36_000_000
_DATA_URI = re.compile(r"data:image/(jpeg|png|webp|bmp|tiff|gif|heic);base64,")

Fetch = Callable[[str], Awaitable[bytes]]


async def read_given(value: str, fetch: Fetch) -> bytes:
    """A picture from its address or data URI, as a small JPEG. Raises ValueError, which completes a sentence."""
    if value.startswith(("http://", "https://")):
        return small(await fetch(value))
    match = _DATA_URI.match(value)
    if match is None:
        raise ValueError("must be an http(s) URL or a data URI with a lower-case format")
    try:
        return small(base64.b64decode(value[match.end() :], validate=True))
    except binascii.Error:
        raise ValueError("is not valid base64") from None


def small(content: bytes) -> bytes:
    """Raises ValueError for what is no picture."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > PIXELS_MAX:
                raise ValueError("has too many pixels")
            image.draft("RGB", (SIDE_PIXELS_MAX, SIDE_PIXELS_MAX))
            plain = image.convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError):
        raise ValueError("is not a picture") from None
    plain.thumbnail((SIDE_PIXELS_MAX, SIDE_PIXELS_MAX))
    buffer = io.BytesIO()
    plain.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def sides(picture: bytes) -> tuple[int, int]:
    try:
        with Image.open(io.BytesIO(picture)) as image:
            return image.size
    except (OSError, SyntaxError, Image.DecompressionBombError):
        raise ValueError("is not a picture") from None


def aspect(picture: bytes) -> float:
    width, height = sides(picture)
    return width / height
