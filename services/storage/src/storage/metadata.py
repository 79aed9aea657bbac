"""Which parts of a picture's file are the picture. The rest (places, names, scripts, what is hidden behind the end) is
left out, without decoding anything: what is kept is kept as it was.

Kept are colour profiles, and content credentials (C2PA), which say that a machine made the picture.
"""

import re
import struct
from collections.abc import Iterator
from typing import IO

Parts = tuple[tuple[int, int], ...]
"""From the first byte to the one after the last, in order."""

_PNG = {
    *(b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"pHYs", b"bKGD"),
    *(b"hIST", b"cICP", b"mDCV", b"cLLI", b"caBX"),
}
_WEBP = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"C2PA"}
_WEBP_SAYS_METADATA = 0x0C
"""Bits of VP8X: EXIF and XMP follow."""
_JFIF, _ICC, _C2PA, _ADOBE = 0xE0, 0xE2, 0xEB, 0xEE
_APPLICATION = range(0xE0, 0xF0)
_COMMENT = 0xFE
_SCAN, _END = 0xDA, 0xD9
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""In what a scan holds the first of these is the end of it, and between segments the end of a gap."""
_PIECE_BYTES = 1 << 16


def parts(content: IO[bytes], size: int, mime_type: str) -> Parts:
    """The parts of a whole PNG, JPEG or WebP file that are the picture; `((0, size),)` where all of it is."""
    walk = {"image/png": _png, "image/jpeg": _jpeg, "image/webp": _webp}[mime_type]
    joined: list[tuple[int, int]] = []
    for start, end in walk(content):
        stop = min(end, size)
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return tuple(joined)


def join(content: IO[bytes], kept: Parts, mime_type: str) -> bytes:
    """These parts of the file, as a file of its own."""
    pieces = []
    for start, stop in kept:
        content.seek(start)
        pieces.append(content.read(stop - start))
    whole = b"".join(pieces)
    return _corrected(whole) if mime_type == "image/webp" else whole


def _png(content: IO[bytes]) -> Iterator[tuple[int, int]]:
    yield 0, 8
    position = 8
    while True:
        content.seek(position)
        head = content.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        following = position + length + 12
        if kind in _PNG:
            yield position, following
        if kind == b"IEND":
            return
        position = following


def _webp(content: IO[bytes]) -> Iterator[tuple[int, int]]:
    content.seek(4)
    end = 8 + int(struct.unpack("<I", content.read(4))[0])
    yield 0, 12
    position = 12
    while position + 8 <= end:
        content.seek(position)
        head = content.read(8)
        if len(head) < 8:
            return
        kind, length = struct.unpack("<4sI", head)
        following = position + 8 + length + length % 2
        if kind in _WEBP:
            yield position, following
        position = following


def _corrected(webp: bytes) -> bytes:
    """With the length that it has, and without saying that metadata follows."""
    head = bytearray(webp[:32])
    head[4:8] = struct.pack("<I", len(webp) - 8)
    if head[12:16] == b"VP8X":
        head[20] &= ~_WEBP_SAYS_METADATA & 0xFF
    return bytes(head) + webp[32:]


def _jpeg(content: IO[bytes]) -> Iterator[tuple[int, int]]:
    yield 0, 2
    position = 2
    while True:
        content.seek(position)
        head = content.read(4)
        if len(head) < 2:
            return
        if _MARKER.match(head) is None:  # what fills a gap, and decoders pass over
            position = _next_marker(content, position)
            continue
        marker = head[1]
        if marker == _END:
            yield position, position + 2
            return
        following = position + 2 + (int.from_bytes(head[2:4], "big") if len(head) == 4 else 0)
        if _belongs(marker, content):
            yield position, following
        if marker == _SCAN:
            end = _next_marker(content, following)
            yield following, end
            following = end
        position = following


def _belongs(marker: int, content: IO[bytes]) -> bool:
    if marker == _COMMENT:
        return False
    if marker == _ICC:
        return content.read(12) == b"ICC_PROFILE\0"
    return marker not in _APPLICATION or marker in {_JFIF, _C2PA, _ADOBE}


def _next_marker(content: IO[bytes], start: int) -> int:
    content.seek(start)
    position = start
    rest = b""
    while piece := content.read(_PIECE_BYTES):
        searched = rest + piece
        found = _MARKER.search(searched)
        if found is not None:
            return position - len(rest) + found.start()
        rest = searched[-1:] if searched.endswith(b"\xff") else b""
        position += len(piece)
    return position
