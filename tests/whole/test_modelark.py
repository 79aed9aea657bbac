"""The modelark frontend's sequence of calls, as it sends them: its backend's routes, and Supabase's for the rest."""

import io
from collections.abc import Callable
from typing import Any

import aiohttp
import av
import pytest
from PIL import Image

from tests.whole.conftest import User

pytestmark = pytest.mark.whole

MINE = "select=*,prompts!inner(user_id)&prompts.user_id=eq.{user}&order=created_at.desc"


async def read(user: User, table: str, query: str = MINE) -> list[dict[str, Any]]:
    status, rows, _ = await user.call(
        "GET", f"/rest/v1/{table}?{query.format(user=user.id)}", headers={"Accept-Profile": "public"}
    )
    assert status == 200, rows
    return list(rows)


def start_image() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (320, 180), (20, 60, 120)).save(data, "PNG")
    return data.getvalue()


async def test_the_frontends_sequence_of_calls(new_user: Callable[[], User]) -> None:
    user = new_user()
    _, models, _ = await user.call("GET", "/api/images/models")
    assert "seedream-3-0-t2i-250415" in models["models"]

    # a picture is made, shown by its address, and found in the tables
    body = {"prompt": "A beautiful sunset over mountains", "model": "seedream-3-0-t2i-250415", "size": "1024x1024"}
    status, made, _ = await user.call(
        "POST", "/api/images/generate", json=body | {"userId": str(user.id), "watermark": False}
    )
    assert status == 200, made
    [image] = made["images"]
    content, headers = await user.download(image["bucketUrl"])
    with Image.open(io.BytesIO(content)) as opened:
        assert f"{opened.width}x{opened.height}" == image["size"] == "1024x1024"
    [row] = await read(user, "images")
    assert (row["id"], row["prompt_id"]) == (image["id"], made["promptId"])
    assert (row["url"], row["file_size"]) == (image["bucketUrl"], len(content))
    assert (row["mime_type"], row["prompts"]) == (headers["Content-Type"], {"user_id": str(user.id)})

    # a video from a picture of the user's, in one request
    form = aiohttp.FormData()
    for name, value in {
        "prompt": "It gets dark",
        "duration": "2",
        "aspectRatio": "1:1",
        "userId": str(user.id),
    }.items():
        form.add_field(name, value)
    form.add_field("image", start_image(), filename="start.png", content_type="image/png")
    status, video, _ = await user.call("POST", "/api/videos/generate", data=form)
    assert status == 200, video
    assert (video["duration"], video["aspectRatio"]) == (2, "1:1")
    content, _ = await user.download(video["video_url"])
    with av.open(io.BytesIO(content)) as film:
        stream = film.streams.video[0]
        assert (stream.width, stream.height) == (1024, 1024)
        assert film.duration == pytest.approx(2_000_000, abs=200_000)
    [row] = await read(user, "videos")
    assert (row["prompt_id"], row["url"]) == (video["task_id"], video["video_url"])
    assert (row["duration"], row["aspect_ratio"], row["file_size"]) == (2, "1:1", len(content))
    prompts = await read(user, "prompts", "select=type,prompt&user_id=eq.{user}&order=created_at.asc")
    assert prompts == [
        {"type": "image", "prompt": body["prompt"]},
        {"type": "video", "prompt": "It gets dark"},
    ]

    # it is deleted as the frontend deletes: the file, then the row
    name = image["bucketUrl"].partition("/media/")[2].replace("/", "%2F")
    status, found, _ = await user.call("GET", f"/api/images/storage/{name}")
    assert (status, found) == (200, {"url": image["bucketUrl"]})
    status, _, _ = await user.call("DELETE", f"/api/images/storage/{name}")
    assert status == 204
    status, _, _ = await user.call("DELETE", f"/rest/v1/images?id=eq.{image['id']}")
    assert status == 204
    assert await read(user, "images") == []
    status, _, _ = await user.call("DELETE", f"/rest/v1/videos?id=eq.{row['id']}")
    assert status == 204
    assert await read(user, "videos") == []

    # nobody else saw any of it
    stranger = new_user()
    assert await read(stranger, "prompts", "select=*") == []
