"""What its user made their own alone, in each frontend's words: it opens for them, and is nowhere for anybody else."""

from dataclasses import replace
from uuid import UUID, uuid4

import asyncpg
import pytest
from nats.aio.client import Client as NatsClient
from pydantic import SecretStr

from gateway.settings import AddressSettings, Settings

from .client import Client
from .conformance import JSON
from .conftest import PUBLIC_URL, MakeClient
from .jaaz import call
from .players import SEEDREAM
from .social import DOWNLOAD, HISTORY, made
from .test_instaveo import completed, rank, with_instaveo
from .test_modelark import GENERATE
from .test_visibility import KEY, MEDIA_URL, is_signed, storage

pytestmark = pytest.mark.connected


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    addresses = AddressSettings(
        public_url=PUBLIC_URL,
        public_media_url=MEDIA_URL,
        media_signing_key=SecretStr(KEY),
        media_addresses="public",
    )
    found = with_instaveo(settings, video_creation_cooldown_seconds=0, video_queue_maxsize=0)
    return replace(found, addresses=addresses)


async def hide(client: Client, bus: NatsClient, generation_id: str, visibility: str = "owner") -> None:
    async with storage(bus):
        answer = await client.request("PATCH", f"/v1/generations/{generation_id}", json={"visibility": visibility})
        assert answer.status == 200, answer.text


async def test_a_picture_of_the_social_frontend(client: Client, bus: NatsClient) -> None:
    [image] = (await made(client))["images"]
    path = DOWNLOAD.format(image["id"])
    assert not is_signed(image["url"])
    link = (await client.post(path, JSON)).json["data"]
    assert ("signature" in link["url"], link.get("expiresAt")) == (False, None), "it never ends"
    await hide(client, bus, image["metadata"]["generationId"])
    [shown] = (await client.get(HISTORY)).json["data"]["images"]
    assert all(is_signed(url) for url in (shown["url"], shown["thumbnail"], *shown["metadata"]["variants"].values()))
    link = (await client.post(path, JSON)).json["data"]
    assert (is_signed(link["url"]), bool(link["expiresAt"])) == (True, True)


async def test_a_file_of_the_modelark_frontend(client: Client, bus: NatsClient) -> None:
    answer = (await client.post(GENERATE, json={"prompt": "x"})).json
    [image] = answer["images"]
    await hide(client, bus, answer["promptId"])
    answer = await client.get(f"/api/images/storage/{image['id']}.png")
    assert is_signed(answer.json["url"]), answer.text


async def test_a_picture_of_the_jaaz_frontend(client: Client, bus: NatsClient) -> None:
    submitted = await call(client, "process-image-pipeline", modelId=SEEDREAM, prompt="x")
    await client.ended(submitted["requestId"])
    await hide(client, bus, submitted["requestId"])
    result = await call(client, "process-image-pipeline", action="result", responseUrl=submitted["responseUrl"])
    assert is_signed(result["image_url"])


async def test_a_file_of_the_jaaz_frontend_that_was_made(
    client: Client, client_of: MakeClient, nobody: Client, bus: NatsClient, postgres: asyncpg.Pool
) -> None:
    """As the agent notes what it drew. `<img>` sends no token: what opens for its owner alone is not seen there."""
    made_id, file_id = (await client.ended((await client.accepted())["id"]))["id"], uuid4()
    await postgres.execute(
        """INSERT INTO uploaded_files (id, user_id, filename, key, mime_type, size_bytes, generation_id)
        VALUES ($1, $2, 'image.png', $3, 'image/png', 1, $4)""",
        file_id,
        client.user_id,
        f"{file_id.hex}/original.png",
        UUID(made_id),
    )
    path = f"/api/file/{file_id}"
    assert (await nobody.get(path)).headers["Location"] == f"{PUBLIC_URL}/media/{file_id.hex}/original.png"
    await hide(client, bus, made_id)
    assert is_signed((await client.get(path)).headers["Location"])
    [file] = (await client.get("/api/v1/files")).json["files"]
    assert is_signed(file["url"])
    assert [(await other.get(path)).status for other in (nobody, client_of())] == [401, 404]
    assert (await client.request("DELETE", f"/v1/generations/{made_id}")).status in {200, 204}
    assert (await client.get("/api/v1/files")).json["files"] == []
    assert (await client.get(path)).status == 404


async def test_a_video_of_the_instaveo_frontend(
    client: Client,
    client_of: MakeClient,
    nobody: Client,
    bus: NatsClient,
    settings: Settings,
    postgres: asyncpg.Pool,
) -> None:
    """It leaves the feed and others' sight, and comes back as it was."""
    video = await completed(client)
    path, other = f"/videos/{video['id']}", client_of()

    async def feed() -> list[str]:
        return [each["id"] for each in (await nobody.get("/videos/feed?limit=50")).json["videos"]]

    await rank(settings)
    assert video["id"] in await feed()
    link = (await client.get(f"{path}/download")).json
    assert ("signature" in link["url"], "expiresAt" in link) == (False, False), "it never ends"
    await hide(client, bus, video["id"])
    own = (await client.get(path)).json
    assert (own["status"], own["isPublished"]) == ("completed", False)
    addresses = [own["videoUrl"], own["thumbnailUrl"], *(asset["publicUrl"] for asset in own["assets"])]
    assert all(map(is_signed, addresses))
    link = (await client.get(f"{path}/download")).json
    assert (is_signed(link["url"]), bool(link["expiresAt"])) == (True, True)
    refused = await client.post(f"{path}/publish", JSON)
    assert (refused.status, refused.json["detail"]) == (404, "Nobody else may see this video: make it public first.")
    assert (await other.post(f"{path}/publish", JSON)).json["detail"] == "There is no such video."
    assert video["id"] not in await feed()
    assert [(await each.get(path)).status for each in (other, nobody)] == [404, 404]
    assert (await other.post(f"{path}/like", JSON)).status == 404
    assert (await other.get(f"/users/{client.user_id}/videos")).json == []
    await rank(settings)
    places = "SELECT count(*) FROM instaveo_scores WHERE video_id = $1 AND until_epoch = 9223372036854775807"
    assert await postgres.fetchval(places, UUID(video["id"])) == 0, "it takes no place of a page"
    await hide(client, bus, video["id"], "public")
    await rank(settings)
    assert video["id"] in await feed()
    assert (await other.get(path)).json["isPublished"] is True
