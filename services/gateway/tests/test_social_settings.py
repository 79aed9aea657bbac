"""The social frontend where the operator has wishes: fewer pictures, verified users, links that end."""

import time
from dataclasses import replace
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from pydantic import SecretStr

from contracts.media import signed
from gateway.settings import AddressSettings, Settings, SocialSettings

from .client import Client, token
from .conftest import PUBLIC_URL, MakeClient, migrated, settings_of, with_limits
from .players import Players

pytestmark = pytest.mark.connected

GENERATE = "/api/social/generate-image"
WRITE = "/api/social/generate-text"
IMAGE = {"prompt": "A bakery", "style": "minimal"}
KEY = "the key of the addresses"


@pytest.fixture(scope="module")
async def settings(nats_server: Any, make_database: Any) -> Settings:
    found = settings_of(nats_server.nats_url, await migrated(make_database("gateway")))
    return replace(
        with_limits(found, sync_wait_seconds=2),
        addresses=AddressSettings(public_url=PUBLIC_URL, media_signing_key=SecretStr(KEY)),
        social=SocialSettings(max_images_per_generation=2, verify_above_credits=Decimal(1)),
    )


@pytest.fixture
def verified(client_of: MakeClient) -> Client:
    client = client_of()
    return client_of(client.user_id, token(client.user_id, email=f"{client.user_id}@example.com", email_verified=True))


async def test_the_operators_most_is_also_what_is_made_unless_said_otherwise(
    verified: Client, players: Players
) -> None:
    answer = await verified.post(GENERATE, json=IMAGE)
    assert (answer.status, len(answer.json["data"]["images"])) == (200, 2)
    answer = await verified.post(GENERATE, json=IMAGE | {"count": 3})
    assert (answer.status, answer.json["validationErrors"]) == (400, ["count: at most 2"])
    assert len(await players.published(verified.user_id)) == 1


@pytest.mark.parametrize(
    "claims", [{}, {"email": "someone@example.com"}, {"email_verified": False}, {"email_verified": "true"}]
)
async def test_dear_requests_need_a_verified_address(
    client_of: MakeClient, postgres: asyncpg.Pool, claims: dict[str, object]
) -> None:
    user = client_of()
    unverified = client_of(user.user_id, token(user.user_id, **claims))
    answer = await unverified.post(GENERATE, json=IMAGE)
    assert (answer.status, answer.json["code"], answer.json["required"]) == (403, "verification_needed", 2)
    assert await postgres.fetchval("SELECT count(*) FROM generations WHERE user_id = $1", user.user_id) == 0
    assert (await unverified.post(GENERATE, json=IMAGE | {"count": 1})).status == 200
    assert (await unverified.post(WRITE, json={"prompt": "A bakery"})).status == 200


async def test_what_a_user_says_of_themselves_verifies_nothing(client_of: MakeClient) -> None:
    """Users write `user_metadata` themselves."""
    user = client_of()
    said = client_of(user.user_id, token(user.user_id, user_metadata={"email_verified": True}))
    assert (await said.post(GENERATE, json=IMAGE)).status == 403


async def test_a_service_answers_for_its_users(client_of: MakeClient) -> None:
    user = client_of()
    service = client_of(user.user_id, token(None, role="service_role", aud=None))
    made = await service.post(GENERATE, json=IMAGE | {"userId": str(user.user_id)})
    assert made.status == 200
    history = "/api/social/generated-images"
    assert (await service.get(history)).status == 401
    shown = (await service.get(f"{history}?userId={user.user_id}")).json["data"]["images"]
    assert shown == made.json["data"]["images"]
    link = f"/api/social/download-image/{shown[0]['id']}?userId="
    assert (await service.post(f"{link}{user.user_id}")).status == 200
    assert (await service.post(f"{link}{client_of().user_id}")).status == 404


async def test_links_of_downloads_are_signed_and_end_soon(verified: Client) -> None:
    image = (await verified.post(GENERATE, json=IMAGE)).json["data"]["images"][0]
    answer = (await verified.post(f"/api/social/download-image/{image['id']}")).json["data"]
    url = urlsplit(answer["downloadUrl"])
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert query["download"] == "1"
    assert url.path == urlsplit(image["url"]).path
    assert signed(url.path, int(query["expires"]), query["signature"], KEY)
    assert 200 < int(query["expires"]) - time.time() <= 300
    assert answer["expiresAt"].endswith("Z")


@pytest.mark.parametrize(("path", "body"), [(GENERATE, IMAGE | {"count": 1}), (WRITE, {"prompt": "A bakery"})])
async def test_a_wait_in_vain_is_504_with_a_place_to_look(
    verified: Client, players: Players, path: str, body: dict[str, object]
) -> None:
    players.scripts[verified.user_id] = players.hold
    answer = await verified.post(path, json=body)
    assert (answer.status, answer.json["code"]) == (504, "still_running")
    request = await players.heard(answer.headers["Location"].removeprefix("/v1/generations/"))
    await players.complete(request)
    assert (await verified.ended(str(request.generation_id)))["status"] == "completed"


# -- the environment --------------------------------------------------------------------------------------------------


def test_the_seeds_variables_have_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AI_GENERATION_ENABLED": "false",
        "MAX_IMAGES_PER_GENERATION": "3",
        "VERIFY_ABOVE_CREDITS": "2.5",
    }.items():
        monkeypatch.setenv(name, value)
    assert SocialSettings() == SocialSettings(
        ai_generation_enabled=False, max_images_per_generation=3, verify_above_credits=Decimal("2.5")
    )


def test_the_seeds_values_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AI_GENERATION_ENABLED", "MAX_IMAGES_PER_GENERATION", "VERIFY_ABOVE_CREDITS"):
        monkeypatch.setenv(name, "")
    settings = SocialSettings()
    assert (settings.ai_generation_enabled, settings.max_images_per_generation) == (True, 4)
    assert settings.verify_above_credits is None


@pytest.mark.parametrize("value", ["0", "-1", "many"])
def test_an_impossible_most_refuses_to_start(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("MAX_IMAGES_PER_GENERATION", value)
    with pytest.raises(ValueError, match="max_images_per_generation"):
        SocialSettings()
