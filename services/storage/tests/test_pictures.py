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
from PIL import Image, ImageChops, ImageCms

from storage.pictures import (
    FULL_PIXELS,
    MAX_PIXELS,
    MAX_REDRAWN_PIXELS,
    PROFILE_BYTES,
    QUICK_BYTES,
    Picture,
    Unusable,
    blurhash,
    inspect,
    is_quick,
    redraw,
    shrink,
)
from storage.png import is_whole

from .samples import noise, picture


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int,
    height: int,
    data: bytes,
    *,
    depth: int = 8,
    colour: int = 2,
    interlaced: int = 0,
    palette: bytes | None = None,
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    colours = b"" if palette is None else chunk(b"PLTE", palette)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + colours + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def damaged(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


BOMB_WEBP = b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8X" + struct.pack("<I", 10) + b"\0" * 4 + b"\xff\x3f\0" * 2
SOUND = picture(64, 48, seed=1)
SOUND_OF_COLOURS = png(64, 48, zlib.compress(b"\0" * 65 * 48), colour=3, palette=b"\0\1\2")
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
    "PNG of a palette that is not there": png(64, 48, zlib.compress(b"\0" * 65 * 48), colour=3),
    "interlaced PNG of a palette that is not there": png(1, 1, zlib.compress(b"\0\0"), colour=3, interlaced=1),
    "PNG of half a colour": SOUND_OF_COLOURS.replace(chunk(b"PLTE", b"\0\1\2"), chunk(b"PLTE", b"\0")),
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


def test_an_avif_too_long_for_a_webp_becomes_a_png() -> None:
    with Image.open(io.BytesIO(redraw(picture(20_000, 10, "AVIF", speed=10)))) as image:
        assert (image.format, image.size) == ("PNG", (20_000, 10))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_png_is_checked_without_decoding_it(mode: str) -> None:
    output = io.BytesIO()
    Image.open(io.BytesIO(SOUND)).resize((513, 77)).convert(mode).save(output, "PNG")
    assert is_whole(output)
    assert inspect(output).width == 513
    assert is_whole(io.BytesIO(SOUND_OF_COLOURS))
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


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("exif", [b"{}: none of EXIF", b"II*\0"], ids=["another", "cut off"])
def test_metadata_that_nobody_can_read_are_no_fault_of_the_picture(format_: str, exif: bytes) -> None:
    content = picture(40, 30, format_, exif=b"Exif\0\0" + exif)
    assert inspect(io.BytesIO(content)) == Picture(f"image/{format_.lower()}", 40, 30)
    for drawn in (shrink(content, 20), redraw(content)):
        assert b"none of EXIF" not in drawn
        assert inspect(io.BytesIO(drawn)).is_upright


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP"])
def test_a_picture_is_turned_though_nobody_can_write_the_rest_of_its_metadata(format_: str) -> None:
    word_for_a_width, turned = struct.pack(">HHI4s", 0x0100, 2, 4, b"wide"), struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x02" + word_for_a_width + turned + bytes(4)
    content = picture(40, 30, format_, exif=exif)
    assert inspect(io.BytesIO(content)) == Picture(f"image/{format_.lower()}", 30, 40, is_upright=False)
    for drawn in (shrink(content, 40), redraw(content)):
        found = inspect(io.BytesIO(drawn))
        assert (found.width, found.height, found.is_upright) == (30, 40, True)


def test_transparency_is_kept() -> None:
    output = io.BytesIO()
    Image.new("RGBA", (300, 300), (255, 0, 0, 0)).save(output, "PNG")
    assert Image.open(io.BytesIO(shrink(output.getvalue(), 100))).getpixel((50, 50))[3] == 0  # type: ignore[index]


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "I;16"])
@pytest.mark.parametrize("size", [None, (30, 30)])
def test_a_colour_that_stands_for_nothing_stays_transparent(mode: str, size: tuple[int, int] | None) -> None:
    """A mask for an edit may be made so: opaque, it would leave nothing to edit."""
    whites = {"RGB": (255, 255, 255), "L": 255, "1": 255, "I;16": 65_535}
    source, output = Image.new(mode, (60, 60), 0), io.BytesIO()
    source.paste(whites[mode], (0, 0, 30, 60))
    source.save(output, "PNG", transparency=1 if mode == "1" else whites[mode])
    for content in (redraw(output.getvalue(), size), shrink(output.getvalue(), 30)):
        image = Image.open(io.BytesIO(content)).convert("RGBA")
        left, right = (image.getpixel((x, image.height // 2)) for x in (2, image.width - 3))
        assert isinstance(left, tuple) and isinstance(right, tuple)
        assert (left[3], right[3]) == (0, 255)


def test_a_grey_of_16_bits_keeps_its_greys() -> None:
    output = io.BytesIO()
    Image.frombytes("I;16", (64, 64), (b"\xc0\xc0" * 32 + b"\x40\x40" * 32) * 64).save(output, "PNG")
    plain = Image.new("RGB", (64, 64), (0x40,) * 3)
    plain.paste((0xC0,) * 3, (0, 0, 32, 64))
    for longest_side in (None, 32, 12):
        image = Image.open(io.BytesIO(shrink(output.getvalue(), longest_side))).convert("L")
        left, right = image.getpixel((2, 2)), image.getpixel((image.width - 3, 2))
        assert (left, right) == (pytest.approx(0xC0, abs=3), pytest.approx(0x40, abs=3))
    usual = io.BytesIO()
    plain.save(usual, "PNG")
    assert blurhash(output.getvalue()) == blurhash(usual.getvalue())


def test_a_small_profile_of_colours_goes_along() -> None:
    """Without it every colour of a wide gamut is drawn pale. One for ink, or a large one, says nothing of a WebP."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for given, kept in (
        (profile, profile),
        (profile[:16] + b"CMYK" + profile[20:], None),
        (profile + bytes(PROFILE_BYTES), None),
        (None, None),
    ):
        image = Image.open(io.BytesIO(shrink(picture(400, 300, "JPEG", icc_profile=given), 100)))
        assert image.info.get("icc_profile") == kept


@pytest.mark.parametrize(("size", "expected"), [((20_000, 50), (16_383, 41)), ((3, 40_000), (1, 16_383))])
def test_what_is_longer_than_a_webp_can_be_is_made_as_long_as_one(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert Image.open(io.BytesIO(shrink(picture(*size, "PNG"), None))).size == expected


def test_a_variant_as_large_as_the_original_has_so_many_pixels_at_most() -> None:
    content = png(8000, 6500, zlib.compress(bytes(1001 * 6500)), depth=1, colour=0)
    assert MAX_REDRAWN_PIXELS < 8000 * 6500
    small = Image.open(io.BytesIO(shrink(content, None)))
    assert small.size == (5547, 4507)
    assert small.width * small.height == pytest.approx(FULL_PIXELS, rel=0.001)


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
