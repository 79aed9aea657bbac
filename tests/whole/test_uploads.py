"""Bringing a file through every process: gateway, the bus, storage, and back by its address."""

import io
from collections.abc import Callable

import aiohttp
import pytest
from PIL import Image

from tests.whole.conftest import User

pytestmark = pytest.mark.whole


def form(content: bytes) -> aiohttp.FormData:
    made = aiohttp.FormData()
    made.add_field("file", content, filename="../../holiday.svg", content_type="image/svg+xml")
    return made


async def test_a_picture_is_brought_and_served(new_user: Callable[[], User]) -> None:
    user = new_user()
    output = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "secret place"
    Image.effect_noise((700, 500), 60).convert("RGB").save(output, "JPEG", exif=exif)
    status, upload, _ = await user.call("POST", "/v1/uploads", data=form(output.getvalue()))
    assert status == 201, upload
    content, headers = await user.download(upload["asset"]["url"])
    assert headers["Content-Type"] == "image/jpeg"
    assert b"secret" not in content
    assert Image.open(io.BytesIO(content)).size == (700, 500)
    thumbnail, _ = await user.download(upload["asset"]["variants"]["thumbnail"])
    assert max(Image.open(io.BytesIO(thumbnail)).size) == 256


async def test_what_is_no_media_is_refused(new_user: Callable[[], User]) -> None:
    user = new_user()
    for content in (b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", b"#EXTM3U\nfile:///etc/passwd\n"):
        status, body, _ = await user.call("POST", "/v1/uploads", data=form(content))
        assert (status, body["code"]) == (415, "unsupported_media")
    status, body, _ = await user.call("POST", "/v1/uploads/direct", json={"mime_type": "image/png", "size_bytes": 9})
    assert (status, body["code"]) == (404, "not_found"), "local files are not put anywhere directly"
