"""The social frontend where the operator has switched it off."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.settings import Settings, SocialSettings

from .client import Client
from .conftest import migrated, settings_of
from .players import Players

pytestmark = pytest.mark.connected


@pytest.fixture(scope="module")
async def settings(nats_server: Any, make_database: Any) -> Settings:
    found = settings_of(nats_server.nats_url, await migrated(make_database("gateway")))
    return replace(found, social=SocialSettings(ai_generation_enabled=False))


@pytest.mark.parametrize("path", ["/api/social/generate-image", "/api/ai/generate-image", "/api/social/generate-text"])
async def test_nothing_is_made_and_the_text_says_why(
    client: Client, nobody: Client, players: Players, path: str
) -> None:
    body = {"prompt": "A bakery", "style": "minimal", "tone": "casual", "type": "generate"}
    answer = await client.post(path, json=body)
    assert (answer.status, answer.json["code"], answer.json["success"]) == (503, "switched_off", False)
    assert "switched off" in answer.json["message"]
    assert answer.json["retryAfter"] == int(answer.headers["Retry-After"])
    assert players.of(client.user_id) == []
    assert (await nobody.post(path, json=body)).status == 401


async def test_what_was_made_can_still_be_seen(client: Client) -> None:
    assert (await client.get("/api/social/generated-images")).status == 200


async def test_no_other_dialect_is_switched_off(client: Client) -> None:
    """The flag is this frontend's alone."""
    assert (await client.post("/api/images/generate", json={"prompt": "A bakery"})).status == 200
