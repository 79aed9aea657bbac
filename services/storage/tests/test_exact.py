"""What is kept is what was asked for: exactly so large and so long, upright, and nobody's business left out."""

import hashlib
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from contracts.facts import Asset, Kind, Output, Rendered
from runtime.database import Database
from storage.addresses import EXTENSIONS, addresses
from storage.ingest import Ingest
from storage.metadata import join, parts
from storage.objects import name_of
from storage.objects.local import LocalObjects
from storage.pictures import inspect
from storage.preparation import asked_size

from .conftest import MAX_BYTES
from .recorded import sound, video
from .samples import Provider, names, picture, put_claim, rendered, rows

pytestmark = pytest.mark.connected
TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


async def stored(ingest: Ingest, objects: LocalObjects, fact: Rendered) -> tuple[Asset, bytes]:
    [asset] = (await ingest.store(fact)).data.assets
    content = b"".join([chunk async for chunk in objects.open(name_of(fact.data.request.user_id, asset.sha256))])
    assert (asset.size_bytes, asset.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    return asset, content


# -- pictures -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", TYPES)
@pytest.mark.parametrize("asked", [None, "400x300", "2K", "adaptive", "99999x99999"])
async def test_a_picture_that_is_right_is_kept_byte_for_byte(
    ingest: Ingest, provider: Provider, objects: LocalObjects, format_: str, asked: str | None
) -> None:
    content = picture(400, 300, format_)
    asset, kept = await stored(ingest, objects, rendered(provider.url("a", content), size=asked))
    assert kept == content
    assert (asset.provider_size, asset.blurhash) == (None, None)


@pytest.mark.parametrize("format_", TYPES)
@pytest.mark.parametrize("asked", ["256x256", "1024x512", "101x99"])
async def test_another_size_is_covered_and_cut(
    ingest: Ingest, provider: Provider, objects: LocalObjects, format_: str, asked: str
) -> None:
    """Ruling 9: delivered exactly, whatever the model makes; its own size is remembered."""
    source = Image.new("RGB", (400, 300), "red")
    source.paste("blue", (0, 0, 200, 300))
    output = io.BytesIO()
    source.save(output, format_)
    asset, kept = await stored(ingest, objects, rendered(provider.url("a", output.getvalue()), size=asked))
    width, height = map(int, asked.split("x"))
    assert (asset.mime_type, asset.width, asset.height) == (TYPES[format_], width, height)
    assert asset.provider_size == "400x300"
    assert asset.blurhash is not None and 20 <= len(asset.blurhash) <= 40
    image = Image.open(io.BytesIO(kept)).convert("RGB")
    assert image.size == (width, height)
    left, right = image.getpixel((2, height // 2)), image.getpixel((width - 3, height // 2))
    assert isinstance(left, tuple) and isinstance(right, tuple)
    assert (left[2] > 200, right[0] > 200) == (True, True), "the middle stays in the middle"


def with_metadata(format_: str, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = "secret place"
    exif.get_ifd(0x8825)[1] = "N"
    source = Image.new("RGB", (400, 200), "red")
    source.paste("blue", (0, 0, 200, 200))
    output = io.BytesIO()
    options: dict[str, Any] = {"PNG": {}, "JPEG": {"comment": b"secret"}, "WEBP": {"lossless": True}}[format_]
    source.save(output, format_, exif=exif, xmp=b"<script>secret</script>", **options)
    return output.getvalue()


@pytest.mark.parametrize("format_", TYPES)
async def test_b37_metadata_and_b33_tails_are_left_out_and_not_one_pixel_changes(
    ingest: Ingest, provider: Provider, objects: LocalObjects, format_: str
) -> None:
    content = with_metadata(format_) + b"PK\x03\x04<script>hidden</script>\xff\xd9"
    asset, kept = await stored(ingest, objects, rendered(provider.url("a", content)))
    assert not any(word in kept for word in (b"secret", b"hidden", b"script", b"Exif"))
    was, now = Image.open(io.BytesIO(content)), Image.open(io.BytesIO(kept))
    assert was.convert("RGB").tobytes() == now.convert("RGB").tobytes()
    assert (asset.width, asset.height, asset.provider_size) == (400, 200, None)
    assert not dict(now.getexif())


@pytest.mark.parametrize("format_", TYPES)
async def test_b37_orientation_is_applied(
    ingest: Ingest, provider: Provider, objects: LocalObjects, format_: str
) -> None:
    asset, kept = await stored(ingest, objects, rendered(provider.url("a", with_metadata(format_, orientation=6))))
    image = Image.open(io.BytesIO(kept)).convert("RGB")
    assert (asset.width, asset.height) == image.size == (200, 400)
    assert asset.provider_size is None
    top = image.getpixel((100, 20))
    assert isinstance(top, tuple) and top[2] > 200
    assert b"secret" not in kept and b"script" not in kept


def test_a_progressive_jpeg_and_its_profile_stay_whole() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for format_, mime_type in TYPES.items():
        output = io.BytesIO()
        options = {"progressive": True} if format_ == "JPEG" else {}
        image = Image.effect_noise((300, 300), 90).convert("RGB")
        image.save(output, format_, icc_profile=profile, **options)
        content = output.getvalue()
        kept = parts(output, len(content), mime_type)
        assert kept == ((0, len(content)),)
        assert join(output, kept, mime_type) == content


@pytest.mark.parametrize("gap", [b"\0", b"\0\0\0", b"\xff\xff", b"\xff\0", b"\x12\x34"])
def test_what_fills_the_gaps_of_a_jpeg_is_no_end_of_it(gap: bytes) -> None:
    """Decoders pass over it, and so the picture was found whole."""
    content = picture(64, 48, "JPEG", seed=1)
    position, filled = 2, content[:2]
    while content[position + 1] != 0xDA:
        following = position + 2 + int.from_bytes(content[position + 2 : position + 4], "big")
        filled += content[position:following] + gap
        position = following
    filled += content[position:]
    file = io.BytesIO(filled)
    kept = join(file, parts(file, len(filled), "image/jpeg"), "image/jpeg")
    assert inspect(file) == inspect(io.BytesIO(kept))
    assert Image.open(file).tobytes() == Image.open(io.BytesIO(kept)).tobytes()


def test_every_cut_of_a_file_is_walked_to_its_end() -> None:
    """B36: whatever is broken was refused before; nothing here hangs or raises."""
    for format_, mime_type in TYPES.items():
        content = picture(64, 48, format_, seed=1)
        for end in range(16, len(content), 3):
            parts(io.BytesIO(content[:end]), end, mime_type)


def test_what_is_asked_for() -> None:
    assert asked_size("1024x576") == (1024, 576)
    for text in (None, "", "2K", "0x5", "1024X576", "1024x576x3", "99999x99999", "-1x5"):
        assert asked_size(text) is None


# -- recordings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "seconds"), [(None, None), ("320x180", 2), ("320x180", 5), (None, 2)])
async def test_a_video_that_is_right_is_kept_byte_for_byte(
    ingest: Ingest, provider: Provider, objects: LocalObjects, size: str | None, seconds: int | None
) -> None:
    content = video(320, 180, 2)
    fact = rendered(provider.url("a", content), kind=Kind.VIDEO, size=size, seconds=seconds)
    asset, kept = await stored(ingest, objects, fact)
    assert kept == content
    assert (asset.mime_type, asset.width, asset.height, asset.seconds) == ("video/mp4", 320, 180, 2.0)
    assert asset.bitrate == len(content) * 8 // 2
    assert asset.provider_size is None
    token = asset.key.partition("/")[0]
    assert asset.key == f"{token}/original.mp4"
    assert asset.variants == {name: f"{token}/{name}.webp" for name in ("poster", "medium", "thumbnail")}


@pytest.mark.parametrize(
    ("size", "seconds", "provider_size"),
    [("256x256", None, "320x180"), (None, 1, None), ("160x90", 1, "320x180")],
)
async def test_a_video_is_brought_to_size_and_length(
    ingest: Ingest,
    provider: Provider,
    objects: LocalObjects,
    size: str | None,
    seconds: int | None,
    provider_size: str | None,
) -> None:
    """Ruling 9: scaled and trimmed, exactly."""
    fact = rendered(provider.url("a", video(320, 180, 2)), kind=Kind.VIDEO, size=size, seconds=seconds)
    asset, _ = await stored(ingest, objects, fact)
    assert f"{asset.width}x{asset.height}" == (size or "320x180")
    assert asset.seconds == pytest.approx(seconds or 2, abs=0.001)
    assert asset.provider_size == provider_size


async def test_speech_comes_by_claim_check(ingest: Ingest, bus: Any, objects: LocalObjects) -> None:
    content = sound(1)
    await put_claim(bus, "speech-1", content)
    asset, kept = await stored(ingest, objects, rendered(Output(index=0, claim="speech-1"), kind=Kind.SPEECH))
    assert kept == content
    assert (asset.mime_type, asset.width, asset.height) == ("audio/mpeg", None, None)
    assert asset.seconds == pytest.approx(1, abs=0.1)
    assert asset.variants == {"waveform": asset.key.replace("original.mp3", "waveform.json")}


async def test_a_video_is_no_picture_and_a_picture_no_video(ingest: Ingest, provider: Provider) -> None:
    for content, kind in ((video(64, 64), Kind.IMAGE), (picture(), Kind.VIDEO), (video(64, 64), Kind.SPEECH)):
        outcome = await ingest.store(rendered(provider.url("a", content), kind=kind))
        assert outcome.data.failure is not None
        assert outcome.data.failure.code == "result_unusable"


async def test_nothing_is_left_in_the_temporary_folder(
    ingest: Ingest, provider: Provider, objects: LocalObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    contents = {"good": video(320, 180, 2), "bad": video(320, 180, 2)[:5000], "large": bytes(MAX_BYTES + 1)}
    for name, content in contents.items():
        await ingest.store(rendered(provider.url(name, content), kind=Kind.VIDEO, seconds=1))
    assert len(await names(objects)) == 1
    assert list(folder.iterdir()) == []


async def test_an_asset_stored_before_is_told_the_same_way_again(
    ingest: Ingest, provider: Provider, objects: LocalObjects
) -> None:
    """Design §3.2: also of what plays and what was made exact."""
    for fact in (
        rendered(provider.url("v", video(320, 180, 2)), kind=Kind.VIDEO, size="160x90", seconds=1),
        rendered(provider.url("p", picture()), size="20x20"),
    ):
        first, second = await ingest.store(fact), await ingest.store(fact)
        assert first.data == second.data
        assert (
            addresses(first.data.assets[0].key[:32], first.data.assets[0].mime_type)["key"] == first.data.assets[0].key
        )
    assert inspect(io.BytesIO(picture())).is_upright


async def test_a_row_says_all_that_the_frontends_tables_have(
    ingest: Ingest, provider: Provider, objects: LocalObjects, database: Database
) -> None:
    """By their names: `file_size`, `dimensions`, `storage_key`, `duration_seconds` and the others."""
    fact = rendered(provider.url("v", video(320, 180, 2)), kind=Kind.VIDEO, size="160x90")
    asset, _ = await stored(ingest, objects, fact)
    [record] = await rows(database, "SELECT * FROM records WHERE asset_id = :id", id=asset.id)
    assert (record["file_size"], record["mime_type"], record["dimensions"]) == (asset.size_bytes, "video/mp4", "160x90")
    assert (record["storage_backend"], record["duration_seconds"]) == ("local", 2.0)
    assert record["storage_key"] in await names(objects)
    assert record["media_path"] == f"/media/{asset.key}"
    assert (record["source_url"], record["provider_size"]) == (fact.data.outputs[0].url, "320x180")
    for mime_type in EXTENSIONS.keys() - {"application/json"}:
        await rows(database, "UPDATE assets SET mime_type = :type WHERE id = :id", type=mime_type, id=asset.id)
        [record] = await rows(database, "SELECT * FROM records WHERE asset_id = :id", id=asset.id)
        assert record["media_path"] == f"/media/{addresses(asset.key[:32], mime_type)['key']}"
