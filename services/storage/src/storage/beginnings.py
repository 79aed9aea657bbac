"""What a file may be, by its first bytes. Everything else is refused before any decoder sees it."""

import re

HEAD_BYTES = 64
_PICTURE = re.compile(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|RIFF.{4}WEBP", re.DOTALL)
_REDRAWN = re.compile(rb"GIF8[79]a|.{4}ftypavi[fs]", re.DOTALL)
_HEIC = re.compile(rb".{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL)
_DEMUXERS = {
    "mov": re.compile(rb".{4}ftyp(?!avi[fs]|hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL),
    "matroska": re.compile(rb"\x1a\x45\xdf\xa3.{0,56}webm", re.DOTALL),
    "wav": re.compile(rb"RIFF.{4}WAVE", re.DOTALL),
    "ogg": re.compile(rb"OggS"),
    "flac": re.compile(rb"fLaC"),
    "aac": re.compile(rb"\xff[\xf0\xf1\xf8\xf9]"),
    "mp3": re.compile(rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]"),
}


def is_picture(head: bytes) -> bool:
    """Whether a file that begins so may be a PNG, JPEG or WebP."""
    return _PICTURE.match(head) is not None


def is_redrawn(head: bytes) -> bool:
    """Whether a file that begins so may be a GIF or AVIF, which is taken and kept as another format."""
    return _REDRAWN.match(head) is not None


def is_heic(head: bytes) -> bool:
    """Whether a file that begins so is a phone's picture: what it was encoded with needs a decoder that we have not."""
    return _HEIC.match(head) is not None


def demuxer_of(head: bytes) -> str | None:
    """FFmpeg's demuxer for a file that begins so; None where it is no recording that we keep."""
    for demuxer, begins in _DEMUXERS.items():
        if begins.match(head):
            return demuxer
    return None
