"""Who looked at the films: counted once for each time, by day, and by whoever has a link."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from nats.aio.client import Client as NatsClient
from pydantic import SecretStr

from gateway.dialects.reelmate import analytics
from gateway.dialects.reelmate.counts import rate
from gateway.settings import AddressSettings, Settings

from .client import Client
from .conftest import PUBLIC_URL, MakeClient, migrated, settings_of
from .players import Players
from .reelmate import FILM, keeping_media, offer
from .test_hidden_media import hide

pytestmark = pytest.mark.connected

STUDIO = "/api/ai-studio"
NOTHING = {"views": 0, "plays": 0, "completions": 0, "downloads": 0, "shares": 0}


@pytest.fixture(scope="module")
async def settings(nats_server: Any, make_database: Callable[[str], str], players: Players) -> Settings:
    database_url = await migrated(make_database("gateway"))
    await offer(database_url, players)
    addresses = AddressSettings(
        public_url=PUBLIC_URL,
        public_media_url="https://media.example",
        media_signing_key=SecretStr("the key of the addresses"),
        media_addresses="public",
    )
    return replace(settings_of(nats_server.nats_url, database_url), addresses=addresses)


@pytest.fixture(scope="module", autouse=True)
async def media(bus: NatsClient) -> AsyncIterator[None]:
    async with keeping_media(bus):
        yield


async def film(client: Client) -> str:
    answer = await client.post(f"{STUDIO}/generate-video", json=FILM)
    assert answer.status == 201, answer.text
    await client.ended(answer.json["data"]["id"])
    return str(answer.json["data"]["id"])


async def happened(client: Client, video_id: str, event: str) -> int:
    return (await client.post(f"{STUDIO}/generated-videos/{video_id}/events", json={"event": event})).status


async def days(client: Client, video_id: str) -> list[dict[str, int]]:
    answer = await client.get(f"{STUDIO}/generated-videos/{video_id}/analytics")
    assert answer.status == 200, answer.text
    return [{name: day[name] for name in NOTHING} for day in answer.json["data"]]


async def overview(client: Client, query: str = "") -> Any:
    answer = await client.get(f"/api/analytics/overview{query}")
    assert answer.status == 200, answer.text
    return answer.json["overview"]


async def shared(client: Client, video_id: str) -> str:
    answer = await client.post(f"{STUDIO}/generated-videos/{video_id}/share", {"Content-Type": "application/json"})
    assert answer.status == 200, answer.text
    url = answer.json["data"]["shareUrl"]
    assert url.startswith(PUBLIC_URL) and answer.json["data"]["url"] == url
    return str(url.removeprefix(PUBLIC_URL))


async def test_each_time_is_counted_once(client: Client) -> None:
    video_id = await film(client)
    assert await days(client, video_id) == []
    events = ["view"] * 20 + ["play"] * 5 + ["complete"] * 2
    assert set(await asyncio.gather(*(happened(client, video_id, event) for event in events))) == {200}
    assert await days(client, video_id) == [NOTHING | {"views": 20, "plays": 5, "completions": 2}]


async def test_days_are_days_of_their_own(client: Client, postgres: asyncpg.Pool) -> None:
    video_id = await film(client)
    await happened(client, video_id, "view")
    await postgres.execute("UPDATE video_analytics SET day = day - 10 WHERE generation_id = $1::text::uuid", video_id)
    await happened(client, video_id, "view")
    assert await days(client, video_id) == [NOTHING | {"views": 1}] * 2
    assert ((await overview(client))["totalViews"], (await overview(client, "?dateRange=7d"))["totalViews"]) == (2, 1)
    assert (await overview(client, "?dateRange="))["totalViews"] == 2
    assert (await overview(client, "?dateRange=all"))["totalViews"] == 2


async def test_the_overview_adds_up_ones_own(client_of: MakeClient) -> None:
    one, other = client_of(), client_of()
    empty = await overview(one)
    assert (empty["totalViews"], empty["avgCtr"], empty["totalVideos"]) == (0, 0, 0)
    await one.post("/api/campaigns", json={"name": "Spring", "type": "ai-generated"})
    first, second, foreign = await film(one), await film(one), await film(other)
    for who, video_id in [(one, first), (one, first), (one, second), (other, foreign)]:
        await happened(who, video_id, "view")
    await happened(one, second, "play")
    said = await overview(one)
    assert (said["totalViews"], said["avgCtr"], said["totalVideos"]) == (3, 33.33, 2)
    assert (said["totalPlays"], said["totalCampaigns"], said["activeCampaigns"]) == (1, 1, 0)


def test_of_nothing_there_is_no_rate() -> None:
    assert (rate(0, 0), rate(5, 0), rate(1, 3), rate(3, 3)) == (0, 0, 33.33, 100)


async def test_a_download_is_a_link_and_is_counted(client: Client) -> None:
    video_id = await film(client)
    answer = await client.post(f"{STUDIO}/generated-videos/{video_id}/download", {"Content-Type": "application/json"})
    assert answer.status == 200, answer.text
    assert answer.json["data"]["downloadUrl"].endswith("/original.mp4?download=1")
    assert await days(client, video_id) == [NOTHING | {"downloads": 1}]


async def test_a_link_shows_the_film_to_whoever_has_it(client: Client, nobody: Client) -> None:
    video_id = await film(client)
    path = await shared(client, video_id)
    assert await shared(client, video_id) == path, "a film has one link"
    seen = await nobody.get(path)
    assert seen.status == 302 and seen.headers["Location"].endswith("/original.mp4")
    assert (await nobody.post(f"{path}/events?event=play")).status == 200
    assert (await nobody.post(f"{path}/events?event=download")).status == 422
    assert await days(client, video_id) == [NOTHING | {"views": 1, "plays": 1, "shares": 2}]


async def test_the_link_of_a_film_that_is_its_owners_alone_shows_nothing(
    client: Client, nobody: Client, bus: NatsClient
) -> None:
    video_id = await film(client)
    path = await shared(client, video_id)
    await hide(client, bus, video_id)
    assert [(await who.get(path)).status for who in (nobody, client)] == [404, 404]
    assert (await nobody.post(f"{path}/events?event=play")).status == 404
    again = await client.post(f"{STUDIO}/generated-videos/{video_id}/share")
    assert (again.status, again.json["message"]) == (404, "Nobody else may see this video: make it public first.")
    await hide(client, bus, video_id, "public")
    assert (await nobody.get(path)).status == 302
    assert await days(client, video_id) == [NOTHING | {"views": 1, "shares": 1}]


async def test_the_link_of_a_deleted_film_shows_nothing(client: Client, nobody: Client, postgres: asyncpg.Pool) -> None:
    video_id = await film(client)
    path = await shared(client, video_id)
    assert (await client.request("DELETE", f"/v1/generations/{video_id}")).status == 204
    assert (await nobody.get(path)).status == 404
    counted = "SELECT views FROM video_analytics WHERE generation_id = $1::text::uuid"
    assert await postgres.fetchval(counted, video_id) == 0


@pytest.mark.parametrize("token", ["x" * 24, "short", "%00" * 24, "x" * 5000])
async def test_a_link_that_was_never_given_shows_nothing(nobody: Client, token: str) -> None:
    assert (await nobody.get(f"{STUDIO}/shared/{token}")).status == 404


async def test_of_links_one_address_opens_so_many(
    client: Client, nobody: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    video_id = await film(client)
    path = await shared(client, video_id)
    monkeypatch.setattr(analytics, "COUNTED_A_MINUTE", 3)
    monkeypatch.setattr(analytics, "BUCKET", f"films {uuid4()} at")
    assert [(await nobody.get(path)).status for _ in range(4)] == [302, 302, 302, 429]


@pytest.mark.parametrize("route", ["events", "download", "share"])
async def test_somebody_elses_film_is_not_there_and_nothing_is_counted(client_of: MakeClient, route: str) -> None:
    one, other = client_of(), client_of()
    video_id = await film(one)
    for wrong in (video_id, "nonsense", str(uuid4())):
        answer = await other.post(f"{STUDIO}/generated-videos/{wrong}/{route}", json={"event": "view"})
        assert answer.status == 404, answer.text
        assert (await other.get(f"{STUDIO}/generated-videos/{wrong}/analytics")).status == 404
    assert await days(one, video_id) == []


async def test_of_what_is_no_film_yet_nothing_is_counted(client: Client, players: Players) -> None:
    players.scripts[client.user_id] = players.hold
    video_id = (await client.post(f"{STUDIO}/generate-video", json=FILM)).json["data"]["id"]
    assert await happened(client, video_id, "view") == 404
    assert await happened(client, video_id, "sold") == 422
