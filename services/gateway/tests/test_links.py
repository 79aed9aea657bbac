"""Short-lived links: for others, by the owner alone, opened without a token."""

import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from contracts.media import signed
from gateway.settings import AddressSettings, Settings

from .client import Client
from .conftest import PUBLIC_URL, MakeClient, migrated, settings_of

pytestmark = pytest.mark.connected
KEY = "the key of the addresses"


@pytest.fixture(scope="module")
async def settings(nats_server: Any, make_database: Any) -> Settings:
    from dataclasses import replace

    found = settings_of(nats_server.nats_url, await migrated(make_database("gateway")))
    return replace(found, addresses=AddressSettings(public_url=PUBLIC_URL, media_signing_key=SecretStr(KEY)))


async def test_links_open_for_as_long_as_was_said(client: Client) -> None:
    made = await client.ended((await client.accepted())["id"])
    answer = await client.post(f"/v1/generations/{made['id']}/links", json={"lifetime_seconds": 600, "download": True})
    assert answer.status == 200, answer.text
    [link] = answer.json["items"]
    assert link["asset_id"] == made["assets"][0]["id"]
    url = urlsplit(link["url"])
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert query["download"] == "1"
    assert signed(url.path, int(query["expires"]), query["signature"], KEY)
    assert 590 < int(query["expires"]) - time.time() <= 600
    assert answer.json["expires_at"] is not None


async def test_only_the_owner_shares(client: Client, client_of: MakeClient, nobody: Client) -> None:
    made = await client.accepted()
    for other, status in ((client_of(), 404), (nobody, 401)):
        assert (await other.post(f"/v1/generations/{made['id']}/links", json={})).status == status


@pytest.mark.parametrize(
    "wish", [{"lifetime_seconds": 59}, {"lifetime_seconds": 10**9}, {"lifetime_seconds": "600"}, {"more": 1}]
)
async def test_wishes_that_are_none(client: Client, wish: dict[str, object]) -> None:
    made = await client.accepted()
    assert (await client.post(f"/v1/generations/{made['id']}/links", json=wish)).status == 422


async def test_nobody_is_given_a_signature_by_the_address_of_a_public_object(nobody: Client) -> None:
    """It would open what has ended, and what its owner has taken back, for whoever once saw an address."""
    key = f"{'ab' * 16}/original.png"
    answer = await nobody.get(f"/storage/v1/object/public/images/{key}")
    assert (answer.status, answer.headers["Location"]) == (307, f"{PUBLIC_URL}/media/{key}")
