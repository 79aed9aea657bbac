"""Webhooks by Standard Webhooks 1.0: told once it is true, signed, over a day, and never somewhere they must not be."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from aiohttp import web
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from contracts.facts import Failure, Request, Verdict
from gateway.webhooks import sender

from .client import Answer, Client, until
from .conftest import MakeClient
from .players import Players

pytestmark = pytest.mark.connected


@dataclass
class Receiver:
    """A loopback server that remembers what it was told, and answers as it is told to."""

    url: str = ""
    heard: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answer: Callable[[], web.StreamResponse] = web.Response
    pause_seconds: float = 0.0
    open: int = 0
    most_open: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.heard.append((dict(request.headers), await request.read()))
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            await asyncio.sleep(self.pause_seconds)
            return self.answer()
        finally:
            self.open -= 1

    async def got(self, number: int = 1) -> list[tuple[dict[str, str], bytes]]:
        async def enough() -> bool:
            return len(self.heard) >= number

        await until(enough, 30)
        return self.heard


@contextlib.asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server = site._server
    assert isinstance(server, asyncio.Server)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/told"
    try:
        yield receiver
    finally:
        await runner.cleanup()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@pytest.fixture
def a_day_in_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """24 hours in about a second: 86 400 times as quick."""
    monkeypatch.setattr(sender, "PAUSES_SECONDS", tuple(pause / 86_400 for pause in sender.PAUSES_SECONDS))


async def make(client: Client, url: str, **fields: Any) -> Any:
    answer = await client.post("/v1/webhooks", json={"url": url, **fields})
    assert answer.status == 201, answer.text
    return answer.json


async def deliveries(client: Client, webhook: Any) -> list[Any]:
    found = (await client.get(f"/v1/webhooks/{webhook['id']}/deliveries")).json["items"]
    assert isinstance(found, list)
    return found


async def ended(client: Client, webhook: Any, state: str) -> Any:
    async def there() -> Any:
        found = await deliveries(client, webhook)
        return found[0] if found and found[0]["state"] == state else None

    return await until(there, 15)


async def test_what_ends_is_told_signed_and_says_what_can_be_read(client: Client, receiver: Receiver) -> None:
    webhook = await make(client, receiver.url)
    made = await client.accepted(prompt="Ein Leuchtturm, schön")
    [(headers, body)] = await receiver.got()
    told = Webhook(webhook["secret"]).verify(body, headers)
    assert told["type"] == "generation.completed"
    assert told["data"] == await client.show(made["id"])
    assert told["timestamp"] == told["data"]["completed_at"].replace("Z", "+00:00")
    delivery = await ended(client, webhook, "delivered")
    assert headers["webhook-id"] == f"msg_{UUID(delivery['id']).hex}"
    assert (delivery["attempts"], delivery["status"], delivery["generation_id"]) == (1, 200, made["id"])


async def test_a_message_that_was_tampered_with_does_not_verify(client: Client, receiver: Receiver) -> None:
    webhook = await make(client, receiver.url)
    await client.accepted()
    [(headers, body)] = await receiver.got()
    with pytest.raises(WebhookVerificationError):
        Webhook(webhook["secret"]).verify(body.replace(b"completed", b"cancelled"), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook((await make(client, receiver.url))["secret"]).verify(body, headers)


async def test_only_what_was_asked_for_is_told(client: Client, receiver: Receiver, players: Players) -> None:
    webhook = await make(client, receiver.url, events=["generation.failed"])
    await client.ended((await client.accepted())["id"])

    async def fail(request: Request) -> None:
        await players.end(request, Verdict.FAILED, Failure(code="provider_unavailable", message="Away."))

    players.scripts[client.user_id] = fail
    await client.accepted()
    await ended(client, webhook, "delivered")
    assert [item["event"] for item in await deliveries(client, webhook)] == ["generation.failed"]


async def test_it_is_tried_for_a_day_under_one_id_and_then_parked(
    client: Client, receiver: Receiver, a_day_in_a_moment: None
) -> None:
    receiver.answer = lambda: web.Response(status=500)
    webhook = await make(client, receiver.url)
    await client.accepted()
    parked = await ended(client, webhook, "parked")
    assert parked["attempts"] == len(sender.PAUSES_SECONDS) + 1 == len(receiver.heard)
    assert (parked["status"], parked["error"]) == (500, "answered 500")
    assert len({headers["webhook-id"] for headers, _ in receiver.heard}) == 1
    assert len({body for _, body in receiver.heard}) == 1

    receiver.answer = web.Response
    path = f"/v1/webhooks/{webhook['id']}/deliveries/{parked['id']}/redeliver"
    assert (await client.post(path)).status == 202
    assert (await ended(client, webhook, "delivered"))["id"] == parked["id"]


async def test_a_period_is_sent_again(client: Client, receiver: Receiver) -> None:
    webhook = await make(client, receiver.url)
    for _ in range(3):
        await client.accepted()

    async def all_are_told() -> bool:
        return [each["state"] for each in await deliveries(client, webhook)] == ["delivered"] * 3

    await until(all_are_told, 15)

    async def redeliver(since: str, until: str) -> Answer:
        body = {"since": since, "until": until}
        return await client.post(f"/v1/webhooks/{webhook['id']}/redeliver", json=body)

    assert (await redeliver("2000-01-01T00:00:00Z", "2001-01-01T00:00:00Z")).json == {"deliveries": 0, "last": None}
    assert (await redeliver("2000-01-01T00:00:00Z", "2100-01-01T00:00:00Z")).json == {"deliveries": 3, "last": None}
    await receiver.got(6)
    assert (await redeliver("0001-01-01T00:00:00+14:00", "2100-01-01T00:00:00Z")).status == 422
    assert (await redeliver("2000-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00")).status == 422


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}), "redirects are not followed"),
        (lambda: web.Response(status=404), "answered 404"),
    ],
)
async def test_anything_but_2xx_is_a_failure(
    client: Client, receiver: Receiver, answer: Callable[[], web.StreamResponse], error: str
) -> None:
    receiver.answer = answer
    webhook = await make(client, receiver.url)
    await client.post(f"/v1/webhooks/{webhook['id']}/test")
    assert (await ended(client, webhook, "parked"))["error"] == error
    assert len(receiver.heard) == 1


async def test_an_answer_without_end_is_not_read(client: Client, receiver: Receiver) -> None:
    class Endless(web.StreamResponse):
        async def prepare(self, request: Any) -> Any:
            writer = await super().prepare(request)
            with contextlib.suppress(ConnectionError):
                for _ in range(10_000):
                    await self.write(bytes(1 << 16))
            return writer

    receiver.answer = Endless
    webhook = await make(client, receiver.url)
    await client.post(f"/v1/webhooks/{webhook['id']}/test")
    assert (await ended(client, webhook, "delivered"))["status"] == 200


async def test_a_slow_receiver_delays_nobody_else(
    client: Client, client_of: MakeClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "TIMEOUT_SECONDS", 6.0)
    receiver.pause_seconds = 30
    slow = await make(client, receiver.url)
    for _ in range(6):
        await client.accepted()
    other = client_of()
    async with receiving() as quick:
        await make(other, quick.url)
        await receiver.got(4)
        await other.accepted()
        await quick.got()
    assert receiver.most_open <= sender.AT_ONCE_TO_ONE
    receiver.pause_seconds = 0

    async def given_up() -> bool:
        return any(item["error"] == "no answer in 6 s" for item in await deliveries(client, slow))

    await until(given_up, 20)


async def test_410_switches_it_off_for_all_to_see(client: Client, receiver: Receiver) -> None:
    receiver.answer = lambda: web.Response(status=410)
    webhook = await make(client, receiver.url)
    await client.accepted()
    await ended(client, webhook, "parked")
    path = f"/v1/webhooks/{webhook['id']}"
    shown = (await client.get(path)).json
    assert (shown["state"], shown["why_disabled"]) == ("disabled", "the receiver answered 410 Gone")
    await client.ended((await client.accepted())["id"])
    assert len(await deliveries(client, webhook)) == 1
    assert (await client.post(f"{path}/test")).status == 404

    on = (await client.request("PATCH", path, json={"state": "active"})).json
    assert (on["state"], on["why_disabled"], on["failing_since"]) == ("active", None, None)


async def test_what_takes_nothing_for_days_is_switched_off(
    client: Client, receiver: Receiver, postgres: asyncpg.Pool
) -> None:
    receiver.answer = lambda: web.Response(status=503)
    webhook = await make(client, receiver.url)
    await client.accepted()
    await receiver.got()

    async def failing() -> Any:
        return (await client.get(f"/v1/webhooks/{webhook['id']}")).json["failing_since"]

    await until(failing)
    await postgres.execute(
        "UPDATE webhooks SET failing_since = now() - interval '73 hours' WHERE id = $1", UUID(webhook["id"])
    )
    await postgres.execute("UPDATE deliveries SET next_at = now() WHERE webhook_id = $1", UUID(webhook["id"]))
    await ended(client, webhook, "parked")
    shown = (await client.get(f"/v1/webhooks/{webhook['id']}")).json
    assert (shown["state"], shown["why_disabled"]) == ("disabled", "it took nothing for three days")


async def test_after_a_rotation_both_secrets_verify(client: Client, receiver: Receiver, postgres: asyncpg.Pool) -> None:
    webhook = await make(client, receiver.url)
    path = f"/v1/webhooks/{webhook['id']}"
    rotated = (await client.post(f"{path}/rotate")).json
    assert rotated["secret"] != webhook["secret"]
    await client.post(f"{path}/test")
    [(headers, body)] = await receiver.got()
    for secret in (webhook["secret"], rotated["secret"]):
        assert Webhook(secret).verify(body, headers)["type"] == "webhook.test"

    once = {"Idempotency-Key": "once"}
    newer, again = await client.post(f"{path}/rotate", once), await client.post(f"{path}/rotate", once)
    assert newer.json["secret"] != rotated["secret"]
    assert again.json == newer.json, "an answer that was lost is no reason for a third"
    await client.post(f"{path}/test")
    headers, body = (await receiver.got(2))[1]
    Webhook(rotated["secret"]).verify(body, headers)

    await postgres.execute("UPDATE webhooks SET previous_secret_until = now() WHERE id = $1", UUID(webhook["id"]))
    await client.post(f"{path}/test")
    headers, body = (await receiver.got(3))[2]
    Webhook(newer.json["secret"]).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(rotated["secret"]).verify(body, headers)
    assert (await client.get(path)).json["secret"] is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "told",
        "ftp://example.com/",
        "https://darkroom.example/v1/generations",
        "https://DARKROOM.example.:443/",
        "https://media.example/told",
        "https://user:secret@example.com/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        f"https://example.com/{'a' * 2000}",
        "https://example.com/a\0b",
        "https://a..b.example.com/",
        f"https://{'a' * 64}.example.com/",
    ],
)
async def test_an_address_that_must_not_be_called_is_refused(client: Client, url: str) -> None:
    answer = await client.post("/v1/webhooks", json={"url": url})
    assert (answer.status, answer.json["code"]) == (422, "invalid_request")
    assert (await client.get("/v1/webhooks")).json["items"] == []


async def test_a_name_that_leads_inside_is_not_called(client: Client, postgres: asyncpg.Pool) -> None:
    """Registered while it was harmless: it is judged again when it is called."""
    webhook = await make(client, "https://example.com/")
    await postgres.execute("UPDATE webhooks SET url = 'https://10.1.2.3/' WHERE id = $1", UUID(webhook["id"]))
    await client.post(f"/v1/webhooks/{webhook['id']}/test")
    assert "the address is not public" in (await ended(client, webhook, "parked"))["error"]


async def test_what_we_cannot_send_ends_as_what_a_receiver_does_not_take(
    client: Client, postgres: asyncpg.Pool, receiver: Receiver, a_day_in_a_moment: None
) -> None:
    """No API but ours has events of no generation."""
    webhook = await make(client, receiver.url)
    await postgres.execute("UPDATE webhooks SET style = 'fal' WHERE id = $1", UUID(webhook["id"]))
    await postgres.execute(
        "INSERT INTO deliveries (id, webhook_id, event) VALUES ($1, $2, 'generation.completed')",
        uuid4(),
        UUID(webhook["id"]),
    )
    parked = await ended(client, webhook, "parked")
    assert (parked["attempts"], parked["status"]) == (len(sender.PAUSES_SECONDS) + 1, None)
    assert parked["error"].startswith("not sent (")
    assert receiver.heard == []


async def test_what_was_tried_without_end_stops_nobody_elses(
    client: Client, client_of: MakeClient, postgres: asyncpg.Pool, receiver: Receiver
) -> None:
    """A column of counts has an end."""
    webhook = await make(client, "https://example.com/")
    await postgres.execute("UPDATE webhooks SET url = 'https://10.1.2.3/' WHERE id = $1", UUID(webhook["id"]))
    await postgres.execute(
        "INSERT INTO deliveries (id, webhook_id, event, attempts) VALUES ($1, $2, 'generation.completed', 32767)",
        uuid4(),
        UUID(webhook["id"]),
    )
    other = client_of()
    theirs = await make(other, receiver.url)
    await other.post(f"/v1/webhooks/{theirs['id']}/test")
    await ended(other, theirs, "delivered")
    assert (await ended(client, webhook, "parked"))["attempts"] == 32_767


async def test_a_user_has_at_most_ten(client: Client, receiver: Receiver) -> None:
    for _ in range(10):
        await make(client, receiver.url)
    assert (await client.post("/v1/webhooks", json={"url": receiver.url})).status == 422


async def test_nobody_reaches_the_webhooks_of_others(client: Client, client_of: MakeClient, receiver: Receiver) -> None:
    webhook = await make(client, receiver.url)
    await client.accepted()
    delivery = await ended(client, webhook, "delivered")
    stranger = client_of()
    path = f"/v1/webhooks/{webhook['id']}"
    for method, below, body in [
        ("GET", "", None),
        ("PATCH", "", {"state": "disabled"}),
        ("DELETE", "", None),
        ("POST", "/rotate", None),
        ("POST", "/test", None),
        ("GET", "/deliveries", None),
        ("POST", f"/deliveries/{delivery['id']}/redeliver", None),
        ("POST", "/redeliver", {"since": "2000-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"}),
    ]:
        foreign = await stranger.request(method, path + below, json=body)
        unknown = await stranger.request(method, f"/v1/webhooks/{uuid4()}{below}", json=body)
        assert (foreign.status, foreign.text) == (404, unknown.text), (method, below)
    assert (await client.get(path)).json["state"] == "active"
    assert (await client.request("DELETE", path)).status == 204
    assert (await client.get(path)).status == 404
