"""The receiver in docs/webhooks.md takes what a real gateway sends, once, and nothing else."""

import asyncio
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
import uvicorn

from darkroom.client import AsyncClient

from .client import token, until
from .conftest import Server, Service

pytestmark = pytest.mark.connected
PAGE = Path(__file__).parents[3] / "docs/webhooks.md"


async def test_the_receiver_of_the_page_hears_what_is_true(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}

    async def there(scope: Any, receive: Any, send: Any) -> None:
        """The address has to be known before the secret is."""
        await names["app"](scope, receive, send)

    server = Server(uvicorn.Config(there, port=0, log_config=None, lifespan="off"))
    task = asyncio.create_task(server.serve())

    async def started() -> bool:
        assert not task.done()
        return server.started

    await until(started, 20)
    url = "http://{}:{}/told".format(*server.servers[0].sockets[0].getsockname())
    bearer = token(uuid4())
    async with AsyncClient(service.url, bearer) as client, aiohttp.ClientSession() as stranger:
        webhook = await client.make_webhook(url)
        monkeypatch.setenv("DARKROOM_WEBHOOK_SECRET", str(webhook.secret))
        exec(compile(program, str(PAGE), "exec"), names)
        made = await client.generate(kind="image", prompt="A lighthouse in a storm")

        async def told() -> bool:
            return bool(names["told"])

        await until(told, 20)
        assert list(names["told"].values()) == [f"generation.completed {made.id}"]
        forged = {"webhook-id": "msg_1", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"}
        async with stranger.post(url, json={"type": "generation.completed"}, headers=forged) as answer:
            assert answer.status == 401
        assert len(names["told"]) == 1
        test, own = f"{service.url}/v1/webhooks/{webhook.id}/test", {"Authorization": f"Bearer {bearer}"}
        async with stranger.post(test, headers=own) as answer:
            assert answer.status == 202

        async def tested() -> bool:
            return "webhook.test None" in names["told"].values()

        await until(tested, 20)
    server.should_exit = True
    await task
