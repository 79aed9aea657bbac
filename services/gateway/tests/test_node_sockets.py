"""socket.io-client for Node, unmodified, at two gateways; what it does stands in tests/node."""

from uuid import uuid4

import pytest
from nats.aio.client import Client as NatsClient

from gateway.settings import Settings
from tests.node.running import passes

from .client import Client, token
from .conftest import serving

pytestmark = [pytest.mark.connected, pytest.mark.node, pytest.mark.timeout(300)]


async def test_socket_io_clients(client: Client, settings: Settings, bus: NatsClient) -> None:
    made = await client.post("/api/v1/canvases", json={"title": "Foxes", "elements": []})
    async with serving(settings, bus) as second:
        await passes(
            "socket.test.js",
            FIRST_URL=client.url,
            SECOND_URL=second.url,
            TOKEN=token(client.user_id),
            OTHERS_TOKEN=token(uuid4()),
            CANVAS_ID=made.json["canvas_id"],
        )
