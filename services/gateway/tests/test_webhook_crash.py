"""A gateway that stops while it tells: another one tells it again, under the same id."""

from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from nats.aio.client import Client as NatsClient

from gateway.settings import Settings
from gateway.webhooks import sender

from .client import Client, token, until
from .conftest import serving
from .players import Players
from .test_webhooks import deliveries, make, receiving

pytestmark = pytest.mark.connected


async def test_what_a_stopped_gateway_was_telling_is_told_by_another(
    settings: Settings,
    bus: NatsClient,
    players: Players,
    http: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sender, "CLAIM_SECONDS", 1.0)
    user_id = uuid4()
    async with receiving() as receiver:
        receiver.pause_seconds = 60
        async with serving(settings, bus) as gateway:
            client = Client(http, gateway.url, user_id, token(user_id))
            webhook = await make(client, receiver.url)
            await client.accepted()
            await receiver.got()
            [pending] = await deliveries(client, webhook)
            assert (pending["state"], pending["attempts"]) == ("pending", 1)
        receiver.pause_seconds = 0
        async with serving(settings, bus) as gateway:
            client = Client(http, gateway.url, user_id, token(user_id))

            async def told() -> Any:
                [delivery] = await deliveries(client, webhook)
                return delivery["state"] == "delivered" and delivery

            assert (await until(told, 30))["attempts"] == 2
        first, second = receiver.heard
        assert first[0]["webhook-id"] == second[0]["webhook-id"]
        assert first[1] == second[1]
