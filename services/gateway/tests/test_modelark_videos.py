"""The videos and files of the modelark frontend, as its seed and its real client say it."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg
import pytest
from nats.aio.client import Client as NatsClient

from contracts.facts import Kind
from contracts.questions import CatalogModel
from gateway.dialects.modelark.films import NAMES, model_of
from gateway.settings import Settings

from .client import Answer, Client
from .conformance import Conformance, Dialect
from .conftest import PUBLIC_URL, MakeClient, with_limits
from .players import SEEDANCE, Players
from .takers import Storage, taking

pytestmark = pytest.mark.connected

GENERATE = "/api/videos/generate"
FIELDS = {"prompt": "Waves at night", "duration": "5", "aspectRatio": "16:9"}
PICTURE = b"\x89PNG a start image"


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    return with_limits(settings, sync_wait_seconds=2)


@pytest.fixture(scope="module")
async def storage(bus: NatsClient) -> AsyncIterator[Storage]:
    async with taking(bus) as storage:
        yield storage


def form(fields: dict[str, Any], picture: bytes | None = None) -> aiohttp.FormData:
    data = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields.items():
        data.add_field(name, value)
    if picture is not None:
        data.add_field("image", picture, filename="start.png", content_type="image/png")
    return data


async def generate(client: Client, picture: bytes | None = None, **fields: str) -> Answer:
    return await client.post(GENERATE, data=form(FIELDS | fields, picture))


async def test_the_form_of_the_real_client_gets_the_seeds_answer_and_more(
    client: Client, players: Players, postgres: asyncpg.Pool
) -> None:
    answer = await generate(client, userId=str(client.user_id))
    assert answer.status == 200, answer.text
    [request] = await players.published(client.user_id)
    assert answer.json == {
        "video_url": f"{PUBLIC_URL}/media/{request.generation_id.hex}0/original.mp4",
        "duration": 5,
        "aspectRatio": "16:9",
        "task_id": str(request.generation_id),
    }
    assert (request.kind, request.model, request.size, request.seconds) == (Kind.VIDEO, SEEDANCE, "1280x720", 5)
    row = await postgres.fetchrow("SELECT dialect, prompt FROM generations WHERE id = $1", request.generation_id)
    assert tuple(row) == ("modelark", "Waves at night")


@pytest.mark.parametrize("seconds", range(2, 11))
async def test_every_whole_second_of_the_seed_is_made(client: Client, players: Players, seconds: int) -> None:
    answer = await generate(client, duration=str(seconds))
    assert (answer.status, answer.json["duration"]) == (200, seconds)
    assert (await players.published(client.user_id))[0].seconds == seconds


@pytest.mark.parametrize(("ratio", "size"), [("16:9", "1280x720"), ("9:16", "720x1280"), ("1:1", "1024x1024")])
async def test_every_ratio_of_the_seed_is_made(client: Client, players: Players, ratio: str, size: str) -> None:
    answer = await generate(client, aspectRatio=ratio)
    assert (answer.status, answer.json["aspectRatio"]) == (200, ratio)
    assert (await players.published(client.user_id))[0].size == size


@pytest.mark.parametrize("name", ["seedance-1-0-lite-t2v", "runway-gen-2", "stable-video"])
async def test_every_name_of_the_seed_is_somebody_who_makes_it(client: Client, players: Players, name: str) -> None:
    """Here the operator has a key for the first one alone."""
    assert (await generate(client, model=name)).status == 200
    assert (await players.published(client.user_id))[0].model == SEEDANCE


def test_a_name_is_that_model_where_it_is_offered_and_a_start_image_goes_to_who_can_use_it() -> None:
    def model(name: str, *inputs: str) -> CatalogModel:
        return CatalogModel(id=name, kind=Kind.VIDEO, provider="x", inputs=inputs)

    offered = [model(NAMES[0]), model("other", "first_frame"), model("seedance-1-0-lite-i2v", "first_frame")]
    assert model_of(offered, None, starts=False) == NAMES[0]
    assert model_of([*offered, model("runway-gen-2")], "runway-gen-2", starts=False) == "runway-gen-2"
    assert model_of(offered, "runway-gen-2", starts=False) == NAMES[0]
    assert model_of(offered, "runway-gen-2", starts=True) == "seedance-1-0-lite-i2v"
    assert model_of(offered, "other", starts=True) == "other"
    assert model_of([*offered, model("stable-video")], "stable-video", starts=True) == "other"
    assert model_of(offered, "nonsense", starts=True) == "nonsense", "which is refused"
    assert model_of(offered[:1], NAMES[0], starts=True) == NAMES[0], "which is refused, too"
    assert model_of([], None, starts=False) is None


async def test_a_start_image_is_the_users_own_upload(client: Client, players: Players, storage: Storage) -> None:
    answer = await generate(client, PICTURE, userId=str(client.user_id))
    assert answer.status == 200, answer.text
    [request] = await players.published(client.user_id)
    [given] = request.inputs
    assert given.role == "first_frame"
    assert given.asset_id is not None
    assert storage.brought[given.asset_id] == (client.user_id, PICTURE)


async def test_under_one_key_the_image_is_one_upload_and_the_video_one_generation(
    client: Client, players: Players, storage: Storage
) -> None:
    key = {"Idempotency-Key": "one"}
    answers = [await client.post(GENERATE, key, data=form(FIELDS, PICTURE)) for _ in range(2)]
    assert answers[0].status == 200, answers[0].text
    assert answers[0].json == answers[1].json
    for fields, picture in ((FIELDS | {"prompt": "another"}, PICTURE), (FIELDS, b"another")):
        other = await client.post(GENERATE, key, data=form(fields, picture))
        assert other.status == 422, other.text


async def test_of_a_video_that_is_refused_no_image_stays(client: Client, players: Players, storage: Storage) -> None:
    """Unless it was there before: it is what another one started from."""

    def kept() -> list[bytes]:
        return [content for user_id, content in storage.brought.values() if user_id == client.user_id]

    for fields, status in (({"prompt": ""}, 422), ({"duration": "1"}, 422), ({"model": "nonsense"}, 422)):
        assert (await generate(client, PICTURE, **fields)).status == status
        assert kept() == []
    players.available[client.user_id] = 1
    assert (await generate(client, PICTURE)).status == 402
    assert kept() == []
    del players.available[client.user_id]
    key = {"Idempotency-Key": "kept"}
    statuses = [
        (await client.post(GENERATE, key, data=form(FIELDS | {"prompt": prompt}, PICTURE))).status
        for prompt in ("a boat", "another")
    ]
    assert (statuses, kept()) == ([200, 422], [PICTURE])


async def test_nothing_of_a_file_is_taken_before_it_is_known_whose_it_is(
    nobody: Client, client: Client, storage: Storage
) -> None:
    before = len(storage.brought)
    assert (await generate(nobody, PICTURE)).status == 401
    assert (await generate(client, PICTURE, userId=str(uuid4()))).status == 404
    assert len(storage.brought) == before


async def test_an_empty_file_is_none(client: Client, players: Players) -> None:
    assert (await generate(client, b"")).status == 200
    assert (await players.published(client.user_id))[0].inputs == ()


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"prompt": ""}, 422),
        ({"prompt": "a\0b"}, 422),
        ({"prompt": "x" * 5000}, 422),
        ({"duration": "1"}, 422),
        ({"duration": "11"}, 422),
        ({"duration": "4.5"}, 422),
        ({"duration": "-5"}, 422),
        ({"duration": "\u0665"}, 422),
        ({"duration": ""}, 422),
        ({"aspectRatio": "4:3"}, 422),
        ({"aspectRatio": ""}, 422),
        ({"model": "nonsense"}, 422),
        ({"userId": "nonsense"}, 404),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_a_bad_field_is_an_error_in_the_seeds_shape_and_changes_nothing(
    client: Client, postgres: asyncpg.Pool, fields: dict[str, str], status: int
) -> None:
    answer = await generate(client, **fields)
    assert answer.status == status, answer.text
    assert isinstance(answer.json["error"], str)
    assert answer.json["error"] == answer.json["message"] == answer.json["detail"]
    assert await postgres.fetchval("SELECT count(*) FROM generations WHERE user_id = $1", client.user_id) == 0


async def test_a_form_is_needed_and_a_whole_one(client: Client) -> None:
    assert (await client.post(GENERATE, json=FIELDS)).status == 415
    assert (await client.post(GENERATE, data=FIELDS)).status == 415, "as a plain HTML form"
    whole = {"Content-Type": "multipart/form-data; boundary=b"}
    assert (await client.post(GENERATE, whole, data=b"--b\r\nContent-Disp")).status == 400
    two = form(FIELDS, PICTURE)
    two.add_field("image", PICTURE, filename="second.png")
    assert (await client.post(GENERATE, data=two)).status in {422, 503}
    missing = await client.post(GENERATE, data=form({"duration": "5"}))
    assert (missing.status, missing.json["error"]) == (422, "prompt: Field required")


async def test_the_connection_test_makes_the_shortest_video(client: Client, players: Players) -> None:
    answer = await client.post("/api/videos/test", json={"prompt": "A simple test video"})
    assert answer.status == 200, answer.text
    assert answer.json["success"] is True
    data = answer.json["data"]
    assert (data["model"], data["status"]) == (SEEDANCE, "succeeded")
    assert data["content"]["video_url"].startswith("https://provider.example/")
    assert (await players.published(client.user_id))[0].seconds == 2


async def test_a_failed_connection_test_is_no_success(client: Client, nobody: Client, players: Players) -> None:
    answer = await nobody.post("/api/videos/test", json={"prompt": "x"})
    assert (answer.status, answer.json["success"]) == (401, False)
    players.available[client.user_id] = 0
    answer = await client.post("/api/videos/test", json={"prompt": "x"})
    assert (answer.status, answer.json["success"]) == (402, False)
    assert answer.json["error"].startswith("API Error: ")


async def test_a_wait_in_vain_is_504_with_a_place_to_look(client: Client, players: Players) -> None:
    players.scripts[client.user_id] = players.hold
    answer = await generate(client)
    [request] = await players.published(client.user_id)
    assert (answer.status, answer.headers["Location"]) == (504, f"/v1/generations/{request.generation_id}")
    await players.complete(request)


# -- files -----------------------------------------------------------------------------------------------------


async def made(client: Client) -> dict[str, Any]:
    answer = await client.post("/api/images/generate", json={"prompt": "x"})
    assert answer.status == 200, answer.text
    [image] = answer.json["images"]
    return {"prompt": answer.json["promptId"]} | image


async def test_a_file_is_found_by_what_its_address_ends_with(client: Client, client_of: MakeClient) -> None:
    image = await made(client)
    name = image["bucketUrl"].removeprefix(f"{PUBLIC_URL}/media/")
    key = name.partition("/")[0]
    for asked in (name, name.replace("/", "%2F"), key, f"{key}.png", image["id"], f"{image['id']}.png"):
        answer = await client.get(f"/api/images/storage/{asked}")
        assert (answer.status, answer.json) == (200, {"url": image["bucketUrl"]}), asked
        assert (await client_of().get(f"/api/images/storage/{asked}")).status == 404
    for asked in ("nothing.png", ".png", "%00", "x" * 300, "original.png"):
        answer = await client.get(f"/api/images/storage/{asked}")
        assert (answer.status, answer.json["error"]) == (404, "There is no such file."), asked


async def test_a_file_is_deleted_by_its_owner_and_stays_deleted(
    client: Client, client_of: MakeClient, nobody: Client
) -> None:
    image = await made(client)
    path = f"/api/images/storage/{image['id']}.png"
    assert (await nobody.request("DELETE", path)).status == 401
    assert (await client_of().request("DELETE", path)).status == 404
    for _ in range(2):
        assert (await client.request("DELETE", path)).status == 204
    assert (await client.get(path)).status == 404
    assert (await client.get(f"/v1/generations/{image['prompt']}")).status == 404


async def test_the_models_are_kept_by_the_browser(client: Client) -> None:
    answer = await client.get("/api/images/models")
    assert answer.headers["Cache-Control"] == "private, max-age=60"
    again = await client.get("/api/images/models", {"If-None-Match": answer.headers["ETag"]})
    assert (again.status, again.text) == (304, "")


class TestVideos(Conformance):
    surface = Dialect(submit=("POST", GENERATE, dict(FIELDS)), accepted=200, multipart=True)

    async def submit(self, client: Client, headers: dict[str, str] | None = None) -> Answer:
        return await client.post(GENERATE, headers, data=form(FIELDS))
