"""The gateway as a process of its own: its environment, what it says about itself, and how it goes."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from darkroom.embedded import free_port
from gateway.settings import Settings

from .client import SECRET, Client, token, until
from .players import Players

pytestmark = pytest.mark.connected

OWN_SECRET = "what our own tokens are signed with"
PROMPT = "a canary that nobody must find in a log"


async def test_it_starts_says_no_secret_and_leaves_in_order(
    settings: Settings, players: Players, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """P22, P27: prompts, tokens, keys and passwords stay out of the log, also where a request is refused."""
    database_url = settings.database.database_url.get_secret_value()
    port, frontend_port = free_port(), free_port()
    environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ} | {
        "NATS_URL": settings.broker.nats_url,
        "GATEWAY_DATABASE_URL": database_url,
        "GATEWAY_PORT": str(port),
        "GATEWAY_LOG_LEVEL": "DEBUG",
        "SUPABASE_JWT_SECRET": SECRET,
        "JWT_SECRET": OWN_SECRET,
        "GATEWAY_FRONTENDS": f"modelark={frontend_port}",
    }
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", env=environment, stdout=output, stderr=output
        )
    client = Client(http, f"http://127.0.0.1:{port}", None, None)
    bearer = token(client.user_id)
    client = Client(http, client.url, client.user_id, bearer)

    async def ready() -> Any:
        assert process.returncode is None, log.read_text()
        try:
            return (await client.get("/ready")).status == 200
        except aiohttp.ClientError:
            return False

    await until(ready, 60)
    made = await client.accepted(prompt=PROMPT, options={"secret": PROMPT})
    done = await client.ended(made["id"], 30)
    assert done["status"] == "completed"
    frontend = Client(http, f"http://127.0.0.1:{frontend_port}", client.user_id, bearer)
    assert (await frontend.show(made["id"]))["status"] == "completed"
    assert (await client.create(prompt=PROMPT + "\0")).status == 422
    assert (await client.create(prompt=PROMPT, model="nope")).status == 422
    forged = Client(http, client.url, None, bearer[:-4] + "AAAA")
    assert (await forged.create(prompt=PROMPT)).status == 401

    players.scripts[client.user_id] = players.hold
    waiting = asyncio.create_task(client.post("/openai/v1/images/generations", json={"prompt": PROMPT}))
    _, held = await players.published(client.user_id, 2, seconds=10)
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    # What is cut off says nothing, and would be asked for again: made and paid twice.
    told = await waiting
    assert (told.status, told.headers.get("x-should-retry")) == (504, "false"), told.text
    assert told.headers["Location"] == f"/v1/generations/{held.generation_id}"
    await asyncio.wait_for(process.wait(), 15)
    assert time.monotonic() - started < 10
    written = log.read_text()
    assert made["id"] in written
    assert "Traceback" not in written
    password = database_url.split(":")[2].split("@")[0]
    for secret in (PROMPT, bearer, bearer[-20:], SECRET, OWN_SECRET, password):
        assert secret not in written
