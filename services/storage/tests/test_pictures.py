"""Shows P29: what a picture is, is decided by its content; hostile files are refused cheaply (B32–B37)."""

import contextlib
import io
import struct
import subprocess
import sys
import tempfile
import time
import tracemalloc
import zlib

import pytest
from PIL import Image, ImageChops

from storage.pictures import MAX_PIXELS, QUICK_BYTES, Picture, Unusable, inspect, is_quick, redraw, shrink
from storage.png import is_whole

from .samples import noise, picture


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes, *, depth: int = 8, colour: int = 2, interlaced: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def damaged(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


BOMB_WEBP = b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8X" + struct.pack("<I", 10) + b"\0" * 4 + b"\xff\x3f\0" * 2
SOUND = picture(64, 48, seed=1)
HOSTILE = {
    "nothing": b"",
    "one byte": b"\x89",
    "only a signature": b"\x89PNG\r\n\x1a\n",
    "HTML": b"<!doctype html><script>alert(1)</script>",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "XML bomb": b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><svg>&b;</svg>',
    "ZIP": b"PK\x03\x04" + b"\0" * 100,
    "EXE": b"MZ" + b"\0" * 100,
    "PDF": b"%PDF-1.7\n",
    "JSON error": b'{"error":"expired"}',
    "half a GIF": noise(200, 200, "GIF")[:20_000],
    "65535x65535 GIF": b"GIF89a" + b"\xff" * 4 + b"\0" * 3 + b"," + b"\0" * 4 + b"\xff" * 4 + b"\0\x02\0;",
    "half an AVIF": noise(64, 48, "AVIF")[:2000],
    "AVIF of nothing": b"\0\0\0\x18ftypavif\0\0\0\0mif1" + bytes(200),
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1" + bytes(200),
    "TIFF": picture(format_="TIFF"),
    "BMP": picture(format_="BMP"),
    "ICO": picture(format_="ICO"),
    "PPM": picture(format_="PPM"),
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n",
    "50000x50000 PNG": png(50_000, 50_000, zlib.compress(b"\0")),
    "huge PNG": png(2**31 - 1, 2**31 - 1, b""),
    "65 MP PNG": png(8_125, 8_000, zlib.compress(b"\0")),
    "16383x16383 WebP": BOMB_WEBP + b"\0" * 100,
    "PNG without end": SOUND[:-12],
    "half a PNG": SOUND[: len(SOUND) // 2],
    "PNG with a wrong checksum": damaged(SOUND, len(SOUND) // 2),
    "PNG with a wrong header": damaged(SOUND, 20),
    "PNG with too few rows": png(64, 48, zlib.compress(b"\0" * 193 * 47)),
    "PNG with no rows": png(64, 48, b""),
    "PNG with a bad filter": png(64, 48, zlib.compress(b"\x09" + b"\0" * (193 * 48 - 1))),
    "PNG with a bad stream": png(64, 48, b"\xff" * 1000),
    "PNG with a huge chunk": b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 2**31 - 1) + b"IHDR",
    "PNG of no width": png(0, 48, zlib.compress(b"\0" * 48)),
    "PNG of an unknown colour": png(64, 48, zlib.compress(b"\0" * 193 * 48), colour=5),
    "half a JPEG": picture(640, 480, "JPEG")[:2000],
    "JPEG of nothing": b"\xff\xd8\xff\xe0" + b"\0" * 100,
    "half a WebP": picture(640, 480, "WEBP", lossless=True)[:2000],
    "JPEG in a WebP": b"RIFF\x10\x00\x00\x00WEBP" + picture(format_="JPEG"),
    "zTXt bomb": SOUND[:33] + chunk(b"zTXt", b"a\0\0" + zlib.compress(b"a" * 20_000_000)) + SOUND[33:-30],
    "iCCP bomb": SOUND[:33] + chunk(b"iCCP", b"a\0\0" + zlib.compress(b"a" * 20_000_000)) + SOUND[33:-30],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_content_is_refused_in_plain_words(name: str) -> None:
    """P29, B32–B36: refused as unusable, never as a crash, and nothing else."""
    started = time.process_time()
    with pytest.raises(Unusable) as caught:
        inspect(io.BytesIO(HOSTILE[name]))
    assert time.process_time() - started < 1
    assert str(caught.value).startswith(("the content is no", "the picture"))


@pytest.mark.parametrize("name", ["50000x50000 PNG", "huge PNG", "16383x16383 WebP"])
def test_a_bomb_is_refused_by_its_header(name: str) -> None:
    """B35: in less than 100 ms and without memory for its pixels."""
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(Unusable):
        inspect(io.BytesIO(HOSTILE[name]))
    seconds, (_, peak) = time.process_time() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 0.1
    assert peak < 5_000_000


def test_the_largest_picture_is_checked_in_little_memory() -> None:
    """P29: 64 million pixels at 16 bits, 512 MB of them, inflate through a window."""
    script = f"""
import io, struct, zlib
from storage.pictures import inspect
squeeze = zlib.compressobj(1)
data = b"".join(squeeze.compress(b"\\0" * (1 + 8 * 8000)) for _ in range(8000)) + squeeze.flush()
header = struct.pack(">IIBBBBB", 8000, 8000, 16, 6, 0, 0, 0)
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
whole = b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
picture = inspect(io.BytesIO(whole))
assert (picture.width, picture.height) == (8000, 8000) and {MAX_PIXELS} == 8000 * 8000
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 250_000


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("size", [(1, 1), (64, 48), (1021, 3)])
def test_sound_pictures_are_known_by_content(format_: str, size: tuple[int, int]) -> None:
    expected = Picture(f"image/{format_.lower()}", *size)
    assert inspect(io.BytesIO(picture(*size, format_))) == expected
    with tempfile.SpooledTemporaryFile(10) as spooled:
        spooled.write(picture(*size, format_))
        assert inspect(spooled) == expected


@pytest.mark.parametrize(("format_", "kept_as"), [("GIF", "PNG"), ("AVIF", "WEBP")])
def test_what_not_every_client_shows_becomes_what_each_does(format_: str, kept_as: str) -> None:
    """The first frame of what moves, upright, as large and of nearly the same colours."""
    red, blue = (Image.new("RGB", (40, 30), colour) for colour in ("red", "blue"))
    output = io.BytesIO()
    red.save(output, format_, save_all=True, append_images=[blue])
    with Image.open(io.BytesIO(redraw(output.getvalue()))) as image:
        assert (image.format, image.size, getattr(image, "n_frames", 1)) == (kept_as, (40, 30), 1)
        assert ImageChops.difference(image.convert("RGB"), red).getextrema()[0][1] < 8


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_png_is_checked_without_decoding_it(mode: str) -> None:
    output = io.BytesIO()
    Image.open(io.BytesIO(SOUND)).resize((513, 77)).convert(mode).save(output, "PNG")
    assert is_whole(output)
    assert inspect(output).width == 513
    content = output.getvalue()
    assert not any(is_whole(io.BytesIO(content[:end])) for end in range(0, len(content), 7))


def test_an_interlaced_png_is_left_to_the_decoder() -> None:
    """Seven passes of a 1x1 picture are one row."""
    content = png(1, 1, zlib.compress(b"\0\1\2\3"), interlaced=1)
    assert is_whole(io.BytesIO(content)) is None
    assert inspect(io.BytesIO(content)) == Picture("image/png", 1, 1)
    with pytest.raises(Unusable):
        inspect(io.BytesIO(content[:-20]))


@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_unusual_jpegs_are_kept_and_normalised_when_smaller(mode: str) -> None:
    """B36."""
    output = io.BytesIO()
    Image.open(io.BytesIO(SOUND)).convert(mode).save(output, "JPEG")
    assert inspect(output).mime_type == "image/jpeg"
    assert Image.open(io.BytesIO(shrink(output.getvalue(), 32))).mode == "RGB"


def test_a_disk_error_is_not_the_pictures_fault() -> None:
    """It must be transient: the fact waits."""

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output") as caught:
        inspect(Broken())
    assert not isinstance(caught.value, Unusable)


# -- smaller --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "longest_side", "expected"),
    [
        ((2000, 1000), 1024, (1024, 512)),
        ((1000, 2000), 256, (128, 256)),
        ((100, 50), 256, (100, 50)),
        ((9, 1), 4, (4, 1)),
    ],
)
@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP"])
def test_variants_fit_and_are_never_enlarged(
    size: tuple[int, int], longest_side: int, expected: tuple[int, int], format_: str
) -> None:
    small = Image.open(io.BytesIO(shrink(picture(*size, format_), longest_side)))
    assert (small.format, small.size) == ("WEBP", expected)


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP"])
def test_metadata_goes_and_orientation_is_applied(format_: str) -> None:
    """B37: EXIF with GPS, orientation 6, XMP with script."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "secret place"
    exif.get_ifd(0x8825)[1] = "N"
    source = Image.new("RGB", (400, 200), "red")
    source.paste("blue", (0, 0, 200, 200))
    output = io.BytesIO()
    options = {"PNG": {}, "JPEG": {"xmp": b"<script>"}, "WEBP": {"xmp": b"<script>", "lossless": True}}[format_]
    source.save(output, format_, exif=exif, **options)  # type: ignore[arg-type]
    assert inspect(output) == Picture(f"image/{format_.lower()}", 200, 400, is_upright=False)
    content = shrink(output.getvalue(), 100)
    small = Image.open(io.BytesIO(content)).convert("RGB")
    assert small.size == (50, 100)
    top, bottom = small.getpixel((25, 10)), small.getpixel((25, 90))
    assert isinstance(top, tuple) and isinstance(bottom, tuple)
    assert (top[2] > 200, bottom[0] > 200) == (True, True), "the left half, blue, is above"
    assert not dict(small.getexif())
    assert b"secret" not in content
    assert b"script" not in content


def test_transparency_is_kept() -> None:
    output = io.BytesIO()
    Image.new("RGBA", (300, 300), (255, 0, 0, 0)).save(output, "PNG")
    assert Image.open(io.BytesIO(shrink(output.getvalue(), 100))).getpixel((50, 50))[3] == 0  # type: ignore[index]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_content_does_no_harm_there_either(name: str) -> None:
    with contextlib.suppress(Unusable):
        assert shrink(HOSTILE[name], 256).startswith(b"RIFF")


def test_only_a_small_png_is_checked_without_a_thread() -> None:
    def quick(content: bytes, size: int | None = None) -> bool:
        return is_quick(io.BytesIO(content), size or len(content))

    assert quick(picture(512, 512, seed=1))
    assert not quick(picture(512, 512, seed=1), QUICK_BYTES + 1)
    assert not quick(png(1000, 501, b""))
    assert not quick(png(2**31 - 1, 2**31 - 1, b""))
    assert not quick(picture(64, 48, format_="JPEG"))
    assert not quick(b"")
