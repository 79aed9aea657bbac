"""What services and the watcher do on NATS as themselves works, and what they may not do is in their logs."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
import structlog
from faststream.nats import NatsBroker
from nats.errors import Error as NatsError
from nats.js.api import ConsumerConfig, DeliverPolicy
from pydantic import SecretStr
from structlog.testing import LogCapture

from contracts.topology import NOTIFICATIONS
from darkroom.embedded import NatsServer
from darkroom.jetstream import connect
from darkroom.stack import NATS_USERS
from darkroom.topology import AUTHORIZATION
from darkroom.topology.apply import apply
from generator.claims import Claims as Putting
from runtime.broker import make_broker
from runtime.settings import BrokerSettings
from storage.claims import Claims as Reading

pytestmark = pytest.mark.connected

PASSWORDS = {user: f"n{uuid4().hex}" for user in NATS_USERS}
NOTICES = 4000
NOTICE = b"x" * 4000
PATIENCE_SECONDS = 15


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    variables = {f"{user.upper()}_NATS_PASSWORD": password for user, password in PASSWORDS.items()}
    data = tmp_path_factory.mktemp("nats")
    server = NatsServer(data, authorization=AUTHORIZATION.read_text(), variables=variables)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module", autouse=True)
async def applied(server: NatsServer) -> None:
    client = await connect(server.nats_url.replace("//", f"//topology:{PASSWORDS['topology']}@"), "topology")
    await apply(client)
    await client.close()


@pytest.fixture(autouse=True)
def said(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What a broker logs, however loud another test has made the logs of this process."""
    capture = LogCapture()
    every_level = structlog.make_filtering_bound_logger(0)
    log = structlog.wrap_logger(structlog.PrintLogger(), processors=[capture], wrapper_class=every_level)
    monkeypatch.setattr("runtime.broker.log", log)
    return capture.entries


def refusals(said: list[Any]) -> list[Any]:
    return [line for line in said if "violation" in line.get("error", "")]


@asynccontextmanager
async def broker_of(server: NatsServer, service: str) -> AsyncIterator[NatsBroker]:
    """As the service connects."""
    password = SecretStr(PASSWORDS[service])
    broker = make_broker(BrokerSettings(nats_url=server.nats_url, nats_user=service, nats_password=password), service)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


async def test_a_claim_is_put_and_put_again_by_one_service_and_read_by_another(
    server: NatsServer, said: list[Any]
) -> None:
    """The second time the former one's bytes are removed."""
    async with broker_of(server, "generator") as generator, broker_of(server, "storage") as storage:
        for content in (b"a" * 300_000, b"b" * 200_000):
            await Putting(generator).put("picture-0", content)
            found = [chunk async for chunk in Reading(storage).chunks("picture-0", 1_000_000)]
            assert b"".join(found) == content
        info = await generator.connection.jetstream().stream_info("OBJ_claims")
        assert info.state.messages == 3, "two chunks, and what is said about them"
    assert refusals(said) == []


async def test_the_live_feed_of_the_gateway_flows_on(server: NatsServer, said: list[Any]) -> None:
    """As gateway.live makes it. An ordered consumer answers the server's flow control, or the feed stops."""
    heard = 0

    async def arrived(_: Any) -> None:
        nonlocal heard
        heard += 1

    async with broker_of(server, "gateway") as gateway:
        jetstream = gateway.connection.jetstream()
        for _ in range(NOTICES):
            await gateway.connection.publish("notification.user.completed", NOTICE)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await jetstream.stream_info(NOTIFICATIONS.name)).state.messages < NOTICES:
                await asyncio.sleep(0.05)
        subscription = await jetstream.subscribe(
            NOTIFICATIONS.subjects[0],
            stream=NOTIFICATIONS.name,
            ordered_consumer=True,
            config=ConsumerConfig(deliver_policy=DeliverPolicy.ALL),
            cb=arrived,
        )
        async with asyncio.timeout(PATIENCE_SECONDS):
            while heard < NOTICES:
                await asyncio.sleep(0.05)
        await subscription.unsubscribe()
    assert refusals(said) == []


async def test_a_service_logs_what_it_was_refused(server: NatsServer, said: list[Any]) -> None:
    async with broker_of(server, "storage") as storage:
        await storage.connection.publish("notification.user.completed", b"")
        await storage.connection.subscribe("generation.requested.>")
        for _ in range(2):
            await storage.connection.flush()
        assert storage.connection.is_connected, "what is refused costs nobody the connection"
        assert [(line["event"], line["log_level"]) for line in refusals(said)] == [("broker.error", "warning")] * 2
        assert 'permissions violation for publish to "notification.user.completed"' in refusals(said)[0]["error"]
        assert 'permissions violation for subscription to "generation.requested.>"' in refusals(said)[1]["error"]


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ("storage", 'permissions violation for subscription to "_inbox_topology.'),
        ("nobody", "Authorization Violation"),
    ],
)
async def test_the_watcher_logs_what_it_was_refused(server: NatsServer, user: str, words: str) -> None:
    login = {"NATS_USER": user, "NATS_PASSWORD": PASSWORDS.get(user, "wrong")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "darkroom.topology"),
        env={**os.environ, "NATS_URL": server.nats_url, **login},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            line = json.loads(await process.stderr.readline())
        assert (line["service"], line["event"]) == ("topology", "broker.error")
        errors = [line["error"]]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3):
                while later := json.loads(await process.stderr.readline()):
                    errors += [later["error"]] if later["event"] == "broker.error" else []
        assert any(words in error for error in errors)
        assert len(errors) == len(set(errors)), "each thing once, however often it is tried"
    finally:
        process.terminate()
        await process.wait()


async def test_a_command_says_what_it_was_refused(server: NatsServer, capfd: pytest.CaptureFixture[str]) -> None:
    client = await connect(server.nats_url.replace("//", f"//ledger:{PASSWORDS['ledger']}@"), "ledger")
    with pytest.raises(NatsError):
        await client.request("$JS.API.STREAM.NAMES", b"", timeout=0.3)
    await client.close()
    assert 'permissions violation for publish to "$js.api.stream.names"' in capfd.readouterr().err


def test_no_password_stands_in_a_file_of_the_server(server: NatsServer) -> None:
    config = next(server.process.log_path.parents[1].glob("nats/*.conf"))
    assert config.stat().st_mode & 0o077 == 0
    assert not [password for password in PASSWORDS.values() if password in config.read_text()]
