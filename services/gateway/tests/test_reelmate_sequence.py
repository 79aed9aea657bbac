"""The reelmate frontend's calls in its own order: from signing in to a film that is looked at."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from nats.aio.client import Client as NatsClient
from pydantic import SecretStr

from gateway.settings import Settings

from .client import Answer, Client, until
from .conftest import MakeClient, Service, migrated, settings_of
from .players import Players
from .reelmate import SETTINGS, keeping_media, offer

pytestmark = pytest.mark.connected


@pytest.fixture(scope="module")
async def settings(nats_server: Any, make_database: Callable[[str], str], players: Players) -> Settings:
    database_url = await migrated(make_database("gateway"))
    await offer(database_url, players)
    settings = settings_of(nats_server.nats_url, database_url)
    own = settings.tokens.model_copy(update={"jwt_secret": SecretStr("reelmate's own secret, long enough")})
    users = settings.users.model_copy(update={"local_users": True})
    return replace(settings, tokens=own, users=users)


@pytest.fixture(scope="module", autouse=True)
async def media(bus: NatsClient) -> AsyncIterator[None]:
    async with keeping_media(bus):
        yield


async def signed_in(http: aiohttp.ClientSession, service: Service, nobody: Client) -> tuple[Client, Any]:
    account = {"email": f"{uuid4().hex}@example.com", "password": "long enough to be one"}
    assert (await nobody.post("/api/auth/register", json=account)).status == 201
    answer = await nobody.post("/api/auth/login", json=account)
    assert answer.status == 200 and {"token", "user"} <= set(answer.json), answer.text
    return Client(http, service.url, None, answer.json["token"]), answer.json["user"]


async def test_the_frontends_sequence_of_calls(http: aiohttp.ClientSession, service: Service, nobody: Client) -> None:
    client, user = await signed_in(http, service, nobody)

    async def asked(method: str, path: str, status: int = 200, **body: Any) -> Any:
        answer: Answer = await client.request(method, f"/api{path}", **body)
        assert answer.status == status, answer.text
        return answer.json

    profile = await asked("GET", "/profile")
    assert profile["user"]["id"] == user["id"]
    assert (await asked("GET", "/analytics/overview"))["overview"] | {"totalViews": 0, "avgCtr": 0} == (
        await asked("GET", "/analytics/overview")
    )["overview"]
    assert (await asked("GET", "/campaigns/playbook"))["playbook"]
    # the form
    form = {
        "name": "Spring",
        "type": "ai-generated",
        "platforms": ["tiktok"],
        "videoFormat": "9:16",
        "targetAudience": "everybody",
        "budget": "500",
        "hashtags": "#spring",
        "callToAction": "Come",
        "startDate": None,
        "endDate": None,
    }
    campaign = (await asked("POST", "/campaigns", 201, json=form))["campaign"]
    assert (campaign["status"], campaign["user_id"]) == ("draft", user["id"])
    # the wizard
    [template, *_] = (await asked("GET", "/ai-studio/prompt-templates"))["data"]
    avatars = (await asked("GET", "/ai-studio/avatars"))["data"]
    voices = (await asked("GET", "/ai-studio/voices"))["data"]
    body = {"templateId": template["id"], "customText": "It is light."}
    script = (await asked("POST", "/ai-studio/script-from-template", json=body))["data"]["script"]
    assert "It is light." in script
    body = {"jobType": "avatar_video", "duration": 30, "quality": "high"}
    assert (await asked("POST", "/ai-studio/estimate-cost", json=body))["data"]["estimatedCost"] == 6
    wanted = {
        "script": script,
        "avatarId": avatars[1]["id"],
        "voiceId": voices[1]["id"],
        "generationSettings": SETTINGS,
    }
    started = await asked("POST", "/ai-studio/generate-video", 201, json=wanted)
    assert (started["success"], started["data"]["status"], started["data"]["user_id"]) == (True, "pending", user["id"])
    job_id = started["data"]["id"]

    async def done() -> Any:
        shown = (await asked("GET", f"/ai-studio/generation-status/{job_id}"))["data"]
        return shown if shown["status"] == "completed" else None

    output = (await until(done))["output"]
    assert output["videoUrl"] and output["thumbnailUrl"] and output["cost"] > 0
    [job] = (await asked("GET", "/ai-studio/generation-jobs?limit=20&offset=0"))["data"]
    [video] = (await asked("GET", "/ai-studio/generated-videos?limit=20&offset=0"))["data"]
    assert (job["id"], video["job_id"], video["video_url"]) == (job_id, job_id, output["videoUrl"])
    # the dashboard
    assert (await asked("PUT", f"/campaigns/{campaign['id']}", json={"status": "active"}))["campaign"]["status"] == (
        "active"
    )
    query = "?status=active&type=ai-generated&platform=tiktok&search=spring&dateRange=7d&page=1&limit=10"
    assert [each["id"] for each in (await asked("GET", f"/campaigns{query}"))["campaigns"]] == [campaign["id"]]
    await asked("POST", f"/ai-studio/generated-videos/{video['id']}/events", json={"event": "view"})
    assert (await asked("GET", "/analytics/overview"))["overview"]["totalViews"] == 1
    body = {"action": "pause", "campaignIds": [campaign["id"]]}
    assert (await asked("POST", "/campaigns/bulk-actions", json=body))["updated"] == 1
    assert (await asked("DELETE", f"/campaigns/{campaign['id']}"))["message"]
    missing = await asked("DELETE", f"/campaigns/{campaign['id']}", 404)
    assert isinstance(missing["error"], str) and isinstance(missing["message"], str)


async def test_a_token_of_another_frontend_is_as_good(client_of: MakeClient) -> None:
    """Whoever signed in with Supabase is a user here."""
    client = client_of()
    assert (await client.get("/api/campaigns")).json["campaigns"] == []
    assert (await client.get("/api/profile")).json["user"]["id"] == str(client.user_id)
