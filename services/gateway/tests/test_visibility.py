"""What is its owner's alone: asked for, changed later, and opened with a token or by an address that ends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import aiohttp
import pytest
from nats.aio.client import Client as NatsClient
from pydantic import SecretStr, ValidationError

from contracts import media
from contracts.facts import Asset, Requested, Visibility
from contracts.keeping import ChangedAssets, Show, TakenUpload, TakeUpload
from contracts.media import signed
from contracts.questions import STORAGE_SHOW, STORAGE_TAKE_UPLOAD
from contracts.topology import requested_subject
from gateway.refusals import NotConfigured
from gateway.settings import AddressSettings, Settings
from gateway.visibility import check_offered

from .client import Client
from .conftest import PUBLIC_URL, MakeClient, migrated, settings_of
from .players import Players

pytestmark = pytest.mark.connected
KEY = "the key of the addresses"
MEDIA_URL = "https://media.example"


@pytest.fixture(scope="module")
async def settings(nats_server: Any, make_database: Any) -> Settings:
    found = settings_of(nats_server.nats_url, await migrated(make_database("gateway")))
    addresses = AddressSettings(
        public_url=PUBLIC_URL,
        public_media_url=MEDIA_URL,
        media_signing_key=SecretStr(KEY),
        media_addresses="public",
        media_upload_visibility="owner",
    )
    return replace(found, addresses=addresses)


@asynccontextmanager
async def storage(bus: NatsClient) -> AsyncIterator[list[Show]]:
    """Somebody who answers as storage does."""
    asked: list[Show] = []

    async def show(message: Any) -> None:
        asked.append(Show.model_validate_json(message.data))
        await message.respond(ChangedAssets(assets=1).model_dump_json().encode())

    subscription = await bus.subscribe(STORAGE_SHOW, cb=show)
    await bus.flush()
    yield asked
    await subscription.unsubscribe()


def is_signed(url: str, reader: str = "") -> bool:
    """Whether the address is signed by us and alive; a plain one has no query at all."""
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    assert not query or signed(parts.path, int(query["expires"]), query["signature"], KEY, reader)
    assert query.get("reader", "") == reader
    return bool(query)


async def test_by_default_addresses_are_permanent(client: Client) -> None:
    made = await client.ended((await client.accepted())["id"])
    [asset] = made["assets"]
    assert made["visibility"] == "public"
    assert not any(is_signed(url) for url in (asset["url"], *asset["variants"].values()))
    links = (await client.post(f"/v1/generations/{made['id']}/links", json={})).json
    assert (is_signed(links["items"][0]["url"]), links["expires_at"]) == (False, None)


async def test_a_generation_that_is_its_owners_alone_is_so_from_the_start(client: Client, bus: NatsClient) -> None:
    """It travels with the fact: storage never has it otherwise."""
    asked = await client.create(key=str(uuid4()), visibility="owner")
    assert (asked.status, asked.json["visibility"]) == (202, "owner")
    made = await client.ended(asked.json["id"])
    said = await bus.jetstream().get_last_msg("GENERATION", f"generation.requested.image.interactive.{made['id']}")
    request = Requested.decode(said.data or b"").data
    assert (request.visibility, requested_subject(request)) == (Visibility.OWNER, said.subject)
    [asset] = made["assets"]
    assert all(is_signed(url) for url in (asset["url"], *asset["variants"].values()))
    links = (await client.post(f"/v1/generations/{made['id']}/links", json={"lifetime_seconds": 60})).json
    assert is_signed(links["items"][0]["url"])
    assert links["expires_at"] is not None
    assert (await client.create(visibility="everybody")).status == 422


async def test_what_is_its_owners_alone_is_not_sent_again_while_it_is_known(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its addresses end, but not at another second in each answer; the time that they were promised is not exceeded."""
    moment = 3600.0 * 600_000
    monkeypatch.setattr(media, "time", SimpleNamespace(time=lambda: moment))
    made = await client.ended((await client.create(visibility="owner")).json["id"])
    path = f"/v1/generations/{made['id']}"
    first = await client.get(path)
    ends = int(parse_qs(urlsplit(first.json["assets"][0]["url"]).query)["expires"][0])
    moment += 899
    assert (await client.get(path, {"If-None-Match": first.headers["ETag"]})).status == 304
    assert 2700 <= ends - moment <= 3600
    moment += 1
    assert (await client.get(path, {"If-None-Match": first.headers["ETag"]})).status == 200


async def test_hidden_and_shown_again(client: Client, client_of: MakeClient, bus: NatsClient) -> None:
    made = await client.ended((await client.accepted())["id"])
    path = f"/v1/generations/{made['id']}"
    async with storage(bus) as asked:
        assert (await client_of().request("PATCH", path, json={"visibility": "owner"})).status == 404
        for visibility in ("owner", "owner", "public"):
            answer = await client.request("PATCH", path, json={"visibility": visibility})
            assert (answer.status, answer.json["visibility"]) == (200, visibility)
            shown = (await client.get(path)).json
            assert (shown["visibility"], is_signed(shown["assets"][0]["url"])) == (visibility, visibility == "owner")
    assert [question.visibility for question in asked] == ["owner", "owner", "public"]
    assert {(question.user_id, str(question.generation_id)) for question in asked} == {(client.user_id, made["id"])}
    assert shown == made, "as if nothing had been"


async def test_nothing_is_said_to_be_hidden_that_is_not(client: Client) -> None:
    made = await client.ended((await client.accepted())["id"])
    path = f"/v1/generations/{made['id']}"
    answer = await client.request("PATCH", path, json={"visibility": "owner"})
    assert (answer.status, answer.json["code"]) == (503, "unavailable"), "storage did not answer"
    assert (await client.get(path)).json["visibility"] == "public"
    for body in ({}, {"visibility": "x"}, {"visibility": "owner", "prompt": "another"}):
        assert (await client.request("PATCH", path, json=body)).status == 422


async def test_what_is_still_made_is_not_changed(client: Client, players: Players) -> None:
    players.scripts[client.user_id] = players.hold
    made = await client.accepted()
    answer = await client.request("PATCH", f"/v1/generations/{made['id']}", json={"visibility": "owner"})
    assert (answer.status, answer.json["code"]) == (409, "not_finished")


async def test_a_token_opens_what_its_user_owns(client: Client, nobody: Client) -> None:
    """The gateway knows who asks, storage knows whose it is: together they are let in."""
    path = f"/media/{uuid4().hex}/original.png"
    answer = await client.get(path + "?download=1")
    location = answer.headers["Location"]
    assert (answer.status, location.partition("?")[0]) == (307, MEDIA_URL + path)
    assert is_signed(location, str(client.user_id))
    assert "download=1" in location
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert (await nobody.get(path)).headers["Location"] == MEDIA_URL + path
    stranger = await nobody.get(path, {"Authorization": "Bearer nonsense"})
    assert stranger.headers["Location"] == MEDIA_URL + path, "what is public is still reached"
    given = path + "?expires=1&signature=2"
    assert (await client.get(given)).headers["Location"] == MEDIA_URL + given


async def test_an_upload_is_shown_as_it_says_and_else_as_the_deployment_does(client: Client, bus: NatsClient) -> None:
    key = f"{'ab' * 16}/original.png"

    async def take(message: Any) -> None:
        question = TakeUpload.model_validate_json(message.data)
        made = {"id": question.upload_id, "index": 0, "key": key, "mime_type": "image/png", "size_bytes": 1}
        asset = Asset.model_validate({**made, "sha256": "0" * 64})
        answer = TakenUpload(asset=asset, visibility=question.visibility)
        await message.respond(answer.model_dump_json().encode())

    subscription = await bus.subscribe(STORAGE_TAKE_UPLOAD, cb=take)
    for _ in range(2):  # the first ping overtakes what nats-py has not written yet
        await bus.flush()
    for path in ("/v1/uploads", f"/v1/uploads/{uuid4()}/finalize"):
        for query, visibility in (("", "owner"), ("?visibility=owner", "owner"), ("?visibility=public", "public")):
            form = aiohttp.FormData()
            form.add_field("file", b"x", filename="a.png")
            upload = (await client.post(path + query, data=form)).json
            assert (upload["visibility"], is_signed(upload["asset"]["url"])) == (visibility, visibility == "owner")
    await subscription.unsubscribe()


def test_without_a_key_it_is_not_offered() -> None:
    with pytest.raises(ValidationError, match="MEDIA_SIGNING_KEY"):
        AddressSettings(media_upload_visibility="owner")
    check_offered(AddressSettings(), Visibility.PUBLIC)
    with pytest.raises(NotConfigured):
        check_offered(AddressSettings(), Visibility.OWNER)
