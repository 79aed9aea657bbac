"""Where addresses are confirmed first nobody signs in before, and nobody learns who is known; where off, it is off."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from nats.aio.client import Client as NatsClient

from gateway.settings import Settings, UserSettings

from .client import Client, token
from .conftest import MakeClient, serving

pytestmark = pytest.mark.connected
PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    return replace(settings, users=UserSettings(local_users=True, confirm_emails=True))


def shape(value: Any) -> Any:
    """What an answer looks like, whatever it says."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else type(value)


async def test_nobody_signs_in_before_the_address_is_confirmed(
    nobody: Client, client_of: MakeClient, postgres: asyncpg.Pool
) -> None:
    body = {"email": f"{uuid4()}@example.com", "password": PASSWORD}
    made = await nobody.post("/auth/v1/signup", json=body)
    assert made.status == 200
    assert "access_token" not in made.json and made.json["email_confirmed_at"] is None
    taken = await nobody.post("/auth/v1/signup", json=body)
    assert taken.status == 200, "it does not tell that the address is known"
    assert shape(taken.json) == shape(made.json)
    assert taken.json["id"] != made.json["id"]
    assert await postgres.fetchval("SELECT count(*) FROM users WHERE email = $1", body["email"]) == 1
    registered = await nobody.post("/api/auth/register", json=body)
    assert (registered.status, registered.json["token"], registered.json["tokens"]) == (201, None, None)

    early = await nobody.post("/auth/v1/token?grant_type=password", json=body)
    assert (early.status, early.json["error_code"]) == (400, "email_not_confirmed")
    wrong = await nobody.post("/auth/v1/token?grant_type=password", json=body | {"password": "wrong"})
    assert wrong.json["error_code"] == "invalid_credentials"
    service = client_of(bearer=token(None, role="service_role", aud=None))
    place = f"/auth/v1/admin/users/{made.json['id']}"
    assert (await service.request("PUT", place, json={"email_confirm": True})).status == 200
    assert (await nobody.post("/auth/v1/token?grant_type=password", json=body)).status == 200


async def test_where_it_is_off_nobody_signs_up(
    settings: Settings, bus: NatsClient, http: Any, service: Any, postgres: asyncpg.Pool
) -> None:
    """Off is what it is unless the operator says otherwise."""
    off = replace(settings, users=UserSettings())
    async with serving(off) as gateway:
        nobody = Client(http, gateway.url, None, None)
        body = {"email": f"{uuid4()}@example.com", "password": PASSWORD}
        for path in ("/auth/v1/signup", "/auth/v1/token?grant_type=password", "/api/auth/register", "/api/auth/login"):
            assert (await nobody.post(path, json=body)).status == 501, path
        assert (await nobody.get("/auth/v1/settings")).json["disable_signup"] is True
    assert await postgres.fetchval("SELECT count(*) FROM users WHERE email = $1", body["email"]) == 0
