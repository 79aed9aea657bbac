"""instaveo behind a proxy: whoever looks without a token is told apart by the address that the proxy names."""

from dataclasses import replace

import pytest

from gateway.settings import Settings

from .client import Client
from .conftest import MakeClient
from .test_instaveo import JSON, completed, shown, with_instaveo

pytestmark = pytest.mark.connected


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    told = with_instaveo(settings, video_creation_cooldown_seconds=0, video_queue_maxsize=0)
    return replace(told, doors=told.doors.model_copy(update={"proxy_networks": "127.0.0.1"}))


async def test_viewers_are_told_apart_by_the_address_that_the_proxy_names(
    client_of: MakeClient, nobody: Client
) -> None:
    one = client_of()
    video = await completed(one)
    for address in ("203.0.113.1", "203.0.113.2", "203.0.113.2", "198.51.100.9, 203.0.113.3"):
        seen = await nobody.post(f"/videos/{video['id']}/view", JSON | {"X-Forwarded-For": address})
        assert seen.status == 200, seen.text
    assert (await shown(one, video["id"]))["views"] == 3
