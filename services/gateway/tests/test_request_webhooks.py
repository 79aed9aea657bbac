"""Webhooks that a request names, as fal and Replicate have them: verified as their own documents and packages do."""

import base64
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from nats.aio.client import Client as NatsClient
from replicate.webhook import InvalidSignatureError, Webhooks, WebhookSigningSecret

from contracts.facts import Failure, Request, Verdict
from darkroom.embedded import free_port
from gateway.settings import Settings
from gateway.webhooks import sender
from gateway.webhooks.forgetting import forget_old
from runtime.database import Database

from .client import Client, until
from .conftest import MakeClient, Service, also_at, serving
from .players import SEEDREAM, Players
from .test_webhooks import Receiver, receiving

pytestmark = pytest.mark.connected

INPUT = {"prompt": "Ein Leuchtturm, schön"}
PREDICTIONS = f"/replicate/v1/models/x/{SEEDREAM}/predictions"
SECRET = "/replicate/v1/webhooks/default/secret"
Heard = tuple[dict[str, str], bytes]


@pytest.fixture(scope="module")
def fal_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
async def settings(settings: Settings, fal_port: int) -> Settings:
    return replace(settings, doors=settings.doors.model_copy(update={"frontends": f"fal={fal_port}"}))


@pytest.fixture(scope="module")
async def service(settings: Settings, bus: NatsClient, players: Players, fal_port: int) -> AsyncIterator[Service]:
    async with serving(settings, bus) as gateway, also_at(gateway.app, fal_port):
        yield gateway


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@pytest.fixture
def queue(client: Client, fal_port: int) -> Client:
    """The same user at fal's door."""
    return client.at(f"http://127.0.0.1:{fal_port}")


async def submit(queue: Client, url: str) -> str:
    made = await queue.post(f"/x/{SEEDREAM}?fal_webhook={url}", json=INPUT)
    assert made.status == 200, made.text
    return str(made.json["request_id"])


async def predict(client: Client, url: str, *events: str, **more: Any) -> str:
    asked = {"input": INPUT, "webhook": url} | ({"webhook_events_filter": list(events)} if events else {})
    made = await client.post(PREDICTIONS, json=asked | more)
    assert made.status == 201, made.text
    return str(made.json["id"])


async def deliveries(client: Client, generation_id: str) -> Any:
    return (await client.get(f"/v1/webhooks/{generation_id}/deliveries")).json["items"]


async def failing(players: Players) -> Any:
    async def fail(request: Request) -> None:
        await players.end(request, Verdict.FAILED, Failure(code="content_policy", message="It says no."))

    return fail


# -- fal ----------------------------------------------------------------------------------------------------------


def verify_as_fal_says(heard: Heard, keys: Any) -> None:
    """What fal's documents tell a receiver to do. Raises InvalidSignature when no key fits."""
    headers, body = heard
    said = [headers[f"X-Fal-Webhook-{name}"] for name in ("Request-Id", "User-Id", "Timestamp")]
    assert abs(int(said[2]) - time.time()) <= 300
    message = "\n".join([*said, sha256(body).hexdigest()]).encode()
    for key in keys["keys"]:
        x = base64.urlsafe_b64decode(key["x"] + "=" * (-len(key["x"]) % 4))
        Ed25519PublicKey.from_public_bytes(x).verify(bytes.fromhex(headers["X-Fal-Webhook-Signature"]), message)


async def test_fals_webhook_is_signed_by_the_key_that_anybody_may_read(
    client: Client, queue: Client, nobody: Client, receiver: Receiver
) -> None:
    request_id = await submit(queue, receiver.url)
    [heard] = await receiver.got()
    keys = (await nobody.at(queue.url).get("/.well-known/jwks.json")).json
    verify_as_fal_says(heard, keys)
    with pytest.raises(InvalidSignature):
        verify_as_fal_says((heard[0], heard[1].replace(b"OK", b"NO")), keys)
    told = json.loads(heard[1])
    result = (await queue.get(f"/x/{SEEDREAM}/requests/{request_id}")).json
    assert told == {"request_id": request_id, "gateway_request_id": request_id, "status": "OK", "payload": result}
    assert heard[0]["X-Fal-Webhook-User-Id"] == str(client.user_id)


async def test_fals_webhook_says_what_failed(queue: Client, players: Players, receiver: Receiver) -> None:
    players.scripts[queue.user_id] = await failing(players)
    await submit(queue, receiver.url)
    [(_, body)] = await receiver.got()
    told = json.loads(body)
    assert (told["status"], told["error"], told["payload"]) == ("ERROR", "It says no.", {"detail": "It says no."})


# -- Replicate ----------------------------------------------------------------------------------------------------


async def secret_of(client: Client) -> WebhookSigningSecret:
    return WebhookSigningSecret(**(await client.get(SECRET)).json)


async def test_replicates_own_package_verifies_the_prediction(
    client: Client, client_of: MakeClient, receiver: Receiver
) -> None:
    prediction_id = await predict(client, receiver.url)
    [(headers, body)] = await receiver.got()
    Webhooks.validate(headers=headers, body=body.decode(), secret=await secret_of(client), tolerance=300)
    with pytest.raises(InvalidSignatureError):
        Webhooks.validate(headers=headers, body=body.decode(), secret=await secret_of(client_of()))
    told = json.loads(body)
    assert told == (await client.get(f"/replicate/v1/predictions/{prediction_id}")).json
    assert told["status"] == "succeeded" and told["output"]


async def test_its_beginning_is_told_to_who_asked(client: Client, players: Players, receiver: Receiver) -> None:
    players.scripts[client.user_id] = players.hold
    prediction_id = await predict(client, receiver.url, "start", "completed")
    request = await players.heard(prediction_id)
    await players.fund(request)
    [(_, begun)] = await receiver.got()
    await players.fund(request)
    await players.complete(request)
    _, (_, ended) = await receiver.got(2)
    assert [json.loads(body)["status"] for body in (begun, ended)] == ["processing", "succeeded"]
    assert {each["event"] for each in await deliveries(client, prediction_id)} == {
        "generation.started",
        "generation.completed",
    }
    assert len(receiver.heard) == 2


@pytest.mark.parametrize(("asked", "told"), [("output", 0), ("logs", 0), ("completed", 1)])
async def test_only_what_is_asked_for_is_told(
    client: Client, players: Players, receiver: Receiver, asked: str, told: int
) -> None:
    """There is no output of what failed, and there never is a log."""
    players.scripts[client.user_id] = await failing(players)
    prediction_id = await predict(client, receiver.url, asked)
    assert (await client.ended(prediction_id))["status"] == "failed"
    assert len(await deliveries(client, prediction_id)) == told


# -- both ---------------------------------------------------------------------------------------------------------


async def test_it_is_tried_again_logged_and_can_be_sent_again(
    client: Client, queue: Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "PAUSES_SECONDS", (0.01,) * 7)
    receiver.answer = lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"})
    request_id = await submit(queue, receiver.url)

    async def is_now(state: str) -> Any:
        found = await deliveries(client, request_id)
        return found[0] if found and found[0]["state"] == state else None

    parked = await until(lambda: is_now("parked"), 20)
    assert (parked["attempts"], parked["error"]) == (8, "redirects are not followed")
    assert len({body for _, body in receiver.heard}) == 1
    receiver.answer = web.Response
    path = f"/v1/webhooks/{request_id}/deliveries/{parked['id']}/redeliver"
    assert (await client.post(path)).status == 202
    assert await until(lambda: is_now("delivered"), 20)


@pytest.mark.parametrize("dialect", ["fal", "replicate"])
async def test_what_is_made_again_is_told_as_well(
    client: Client, queue: Client, players: Players, receiver: Receiver, dialect: str
) -> None:
    """Whoever asks for it, as in the studio: and again, where that fails too."""
    players.scripts[client.user_id] = await failing(players)
    asked = await (submit(queue, receiver.url) if dialect == "fal" else predict(client, receiver.url))
    await receiver.got()
    for count in (2, 3):
        await client.ended(asked)
        again = await client.post(f"/v1/generations/{asked}/retry")
        assert again.status == 202, again.text
        asked = again.json["id"]
        told = [json.loads(body) for _, body in await receiver.got(count)]
        assert told[-1].get("request_id", told[-1].get("id")) == asked


async def test_it_is_of_its_generation_alone(client: Client, client_of: MakeClient, receiver: Receiver) -> None:
    """It hears of no other, is no webhook of the user's list, counts for none of the ten, and is nobody else's."""
    prediction_id = await predict(client, receiver.url)
    await receiver.got()
    await client.ended((await client.accepted())["id"])
    assert len(await deliveries(client, prediction_id)) == 1
    assert (await client.get("/v1/webhooks")).json["items"] == []
    for whoever in (client, client_of()):
        assert (await whoever.get(f"/v1/webhooks/{prediction_id}")).status == 404
        changed = await whoever.request("PATCH", f"/v1/webhooks/{prediction_id}", json={"state": "disabled"})
        assert changed.status == 404
    assert (await client.post(f"/v1/webhooks/{prediction_id}/rotate")).status == 404
    assert (await client.post(f"/v1/webhooks/{prediction_id}/test")).status == 404


async def test_the_same_key_is_the_same_webhook(client: Client, receiver: Receiver) -> None:
    asked = {"input": INPUT, "webhook": receiver.url}
    first, second = [await client.post(PREDICTIONS, {"Idempotency-Key": "once"}, json=asked) for _ in range(2)]
    assert first.json["id"] == second.json["id"]
    elsewhere = await client.post(
        PREDICTIONS, {"Idempotency-Key": "once"}, json=asked | {"webhook": f"{receiver.url}2"}
    )
    assert elsewhere.status == 422
    await receiver.got()
    assert len(await deliveries(client, first.json["id"])) == 1


@pytest.mark.parametrize(
    "asked",
    [
        {"webhook": "https://10.0.0.1/told"},
        {"webhook": "http://[::ffff:169.254.169.254]/"},
        {"webhook": "ftp://hooks.example/"},
        {"webhook": f"https://hooks.example/{'x' * 2000}"},
        {"webhook": "https://hooks.example/", "webhook_events_filter": ["everything"]},
        {"webhook": 7},
        {"webhook_completed": "https://hooks.example/"},
    ],
    ids=lambda asked: str(asked)[:50],
)
async def test_what_will_not_be_told_is_refused_and_changes_nothing(
    client: Client, postgres: asyncpg.Pool, asked: dict[str, Any]
) -> None:
    answer = await client.post(PREDICTIONS, json={"input": INPUT} | asked)
    assert answer.status == 422 and answer.json["detail"], answer.text
    assert await postgres.fetchval("SELECT count(*) FROM generations WHERE user_id = $1", client.user_id) == 0
    assert await postgres.fetchval("SELECT count(*) FROM webhooks WHERE user_id = $1", client.user_id) == 0


async def test_a_slow_receiver_behind_many_requests_delays_nobody_else(
    client: Client, client_of: MakeClient, receiver: Receiver
) -> None:
    receiver.pause_seconds = 30
    for _ in range(6):
        await predict(client, receiver.url)
    await receiver.got(sender.AT_ONCE_TO_ONE)
    async with receiving() as quick:
        await predict(client_of(), quick.url)
        await quick.got()
    assert receiver.most_open <= sender.AT_ONCE_TO_ONE


async def test_what_was_told_long_ago_is_forgotten(
    client: Client, players: Players, receiver: Receiver, postgres: asyncpg.Pool, settings: Settings
) -> None:
    """With the webhook of a single request; that of the user stays, and what may still be told as well."""
    lasting = (await client.post("/v1/webhooks", json={"url": receiver.url})).json["id"]
    told = await predict(client, receiver.url)
    await receiver.got(2)
    players.scripts[client.user_id] = players.hold
    held = await predict(client, receiver.url)

    async def done() -> bool:
        found = [await deliveries(client, each) for each in (told, lasting)]
        return all(each and {one["state"] for one in each} == {"delivered"} for each in found)

    await until(done, 20)
    database = Database(settings.database, "gateway")
    ids = [UUID(each) for each in (told, lasting, held)]
    for days, kept in ((29, {told, lasting, held}), (31, {lasting, held})):
        moment = datetime.now(UTC) - timedelta(days=days)
        await postgres.execute("UPDATE webhooks SET created_at = $1 WHERE id = ANY($2)", moment, ids)
        await postgres.execute("UPDATE deliveries SET ended_at = $1 WHERE webhook_id = ANY($2)", moment, ids)
        await forget_old(database)
        left = await postgres.fetch("SELECT id FROM webhooks WHERE id = ANY($1)", ids)
        assert {row["id"] for row in left} == {UUID(each) for each in kept}
    assert await deliveries(client, lasting) == []
    await database.close()


async def test_webhooks_are_forgotten_after_all_that_was_told(
    client: Client, receiver: Receiver, postgres: asyncpg.Pool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among very many old ones those of which nothing is left are not looked for in every round."""

    async def forgets_nothing(database: Database) -> None:
        """The gateway's own rounds."""

    monkeypatch.setattr("gateway.sweeper.forget_old", forgets_nothing)
    monkeypatch.setattr("gateway.webhooks.forgetting.ROWS", 2)
    ids = [UUID(await predict(client, receiver.url)) for _ in range(3)]

    async def left(table: str, column: str) -> int:
        return int(await postgres.fetchval(f"SELECT count(*) FROM {table} WHERE {column} = ANY($1)", ids))

    async def done() -> bool:
        states = [one["state"] for each in ids for one in await deliveries(client, str(each))]
        return states == ["delivered"] * len(ids)

    await until(done, 20)
    long_ago = datetime.now(UTC) - timedelta(days=31)
    await postgres.execute("UPDATE webhooks SET created_at = $1 WHERE id = ANY($2)", long_ago, ids)
    await postgres.execute("UPDATE deliveries SET ended_at = $1 WHERE webhook_id = ANY($2)", long_ago, ids)
    database, seen = Database(settings.database, "gateway"), []
    for _ in range(3):
        await forget_old(database)
        seen.append((await left("deliveries", "webhook_id"), await left("webhooks", "id")))
    assert seen == [(1, 3), (0, 1), (0, 0)]
    await database.close()
