"""A migrated database per module, whose books must be right after every test; a broker with fresh streams."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from uuid import UUID

import nats
import pytest
from faststream.asgi import AsgiFastStream
from faststream.nats import NatsBroker
from pydantic import SecretStr

import ledger
from contracts.topology import (
    CREDITS,
    DEAD,
    GENERATION,
    LEDGER_HOLD_REQUESTED,
    LEDGER_SETTLE_OUTCOMES,
    OUTCOMES,
    Stream,
)
from darkroom.embedded import Process as ChildProcess
from darkroom.embedded import free_port
from ledger.app import create_app
from ledger.operations import Ledger
from ledger.payments.operations import Payments
from ledger.settings import CreditSettings, PaymentSettings, ReconcilerSettings, Settings
from runtime.broker import make_broker
from runtime.database import Database
from runtime.settings import BrokerSettings, DatabaseSettings, ProcessSettings

from .bank import Bank, new_bank, paid_unheard, settings_for
from .books import contradictions
from .samples import CREDIT

MIGRATIONS = Path(ledger.__file__).parent / "migrations"
Service = Callable[[], AbstractAsyncContextManager[AsgiFastStream]]


@pytest.fixture(scope="module")
async def database_url(make_database, make_template) -> str:
    return make_database("ledger", like=await make_template("ledger"))


@pytest.fixture
async def make_process(database_url) -> AsyncIterator[Callable[[], Database]]:
    """Connections as one more process of the ledger has them."""
    made: list[Database] = []

    def make() -> Database:
        made.append(Database(DatabaseSettings(database_url=SecretStr(database_url)), "ledger"))
        return made[-1]

    yield make
    for database in made:
        await database.close()


@pytest.fixture
async def database(make_process) -> AsyncIterator[Database]:
    database = make_process()
    yield database
    assert await contradictions(database) == {}


@pytest.fixture
def operations(database) -> Ledger:
    return Ledger(database, 10 * CREDIT)


@pytest.fixture
async def streams(nats_server) -> AsyncIterator["Streams"]:
    """The ledger's streams and consumers, new for this test and gone after it."""
    async with await nats.connect(nats_server.nats_url) as client:
        streams = Streams(client)
        await streams.remove()
        await streams.create()
        yield streams
        await streams.remove()


@pytest.fixture
async def broker(nats_server, streams) -> AsyncIterator[NatsBroker]:
    """As another service is connected."""
    broker = make_broker(BrokerSettings(nats_url=nats_server.nats_url), "gateway")
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture(scope="session")
def simulator_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Stripe: a process of its own."""
    port = free_port()
    log_path = tmp_path_factory.mktemp("simulator") / "simulator.log"
    command = [sys.executable, "-m", "simulator", "--port", str(port)]
    process = ChildProcess("simulator", command, log_path=log_path, env=os.environ)
    process.start()
    try:
        process.wait_ready(lambda: "listens" in process.log_tail())
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stop()


@pytest.fixture
async def bank(simulator_url: str) -> AsyncIterator[Bank]:
    bank = new_bank(simulator_url)
    await bank.admin("POST", "reset")
    yield bank
    await bank.close()


@pytest.fixture
def stripe_settings(bank: Bank) -> PaymentSettings:
    return settings_for(bank)


@pytest.fixture
async def payments(database, operations, stripe_settings) -> AsyncIterator[Payments]:
    payments = Payments(database, operations, stripe_settings)
    yield payments
    assert payments.provider is not None
    await payments.provider.close()


@pytest.fixture
async def paid(payments: Payments, bank: Bank) -> tuple[UUID, dict]:
    return await paid_unheard(payments, bank)


@pytest.fixture
def payment_settings() -> PaymentSettings:
    """Payments are off; a module with other wishes has a fixture of this name."""
    return PaymentSettings()


@pytest.fixture
def service(nats_server, database_url, database, streams, payment_settings) -> Service:
    """Starts a whole process of the ledger, which consumes and answers when the block begins."""
    settings = Settings(
        BrokerSettings(nats_url=nats_server.nats_url),
        DatabaseSettings(database_url=SecretStr(database_url)),
        ProcessSettings(log_level="ERROR"),
        CreditSettings(),
        ReconcilerSettings(reconcile_seconds=0.2, hold_overdue_seconds=5400),
        payment_settings,
    )

    @asynccontextmanager
    async def run() -> AsyncIterator[AsgiFastStream]:
        app = create_app(settings)
        others = await streams.pulling()
        async with app.start_lifespan_context():
            async with asyncio.timeout(10):
                while await streams.pulling() == others:
                    await asyncio.sleep(0.02)
            yield app

    return run


async def get(app: AsgiFastStream, path: str) -> tuple[int, bytes]:
    """Status and body of a GET, without a socket."""
    sent: list[dict] = []

    async def send(message: dict) -> None:
        sent.append(message)

    async def receive() -> dict:
        return {"type": "http.request", "body": b"", "more_body": False}

    await app({"type": "http", "method": "GET", "path": path, "headers": []}, receive, send)
    return sent[0]["status"], sent[1]["body"]


class Streams:
    """The topology as an administrator makes and breaks it."""

    ALL = (GENERATION, OUTCOMES, CREDITS, DEAD)
    CONSUMERS = (LEDGER_HOLD_REQUESTED, LEDGER_SETTLE_OUTCOMES)

    def __init__(self, client: nats.aio.client.Client) -> None:
        self._client = client

    async def create(self, *streams: Stream) -> None:
        for stream in streams or self.ALL:
            await self._ask(f"STREAM.CREATE.{stream.name}", stream.config())
        for consumer in self.CONSUMERS:
            if consumer.stream in {stream.name for stream in streams or self.ALL}:
                question = {"stream_name": consumer.stream, "config": consumer.config()}
                await self._ask(f"CONSUMER.CREATE.{consumer.stream}.{consumer.durable}", question)

    async def remove(self, *streams: Stream) -> None:
        for stream in streams or self.ALL:
            await self._client.request(f"$JS.API.STREAM.DELETE.{stream.name}", b"", timeout=5)

    async def subjects(self, stream: Stream) -> list[str]:
        """The subjects of all messages that a stream keeps."""
        info = await self._ask(f"STREAM.INFO.{stream.name}", {"subjects_filter": ">"})
        counts = (info["state"].get("subjects") or {}).items()
        return [subject for subject, count in counts for _ in range(count)]

    async def unsettled(self, durable: str, stream: Stream) -> int:
        """How many messages a consumer has before it, or has and did not acknowledge."""
        info = await self._consumer(durable, stream)
        return info["num_pending"] + info["num_ack_pending"]

    async def pulling(self) -> int:
        """How many processes ask for outcomes now."""
        return (await self._consumer("ledger-settle-outcomes", OUTCOMES))["num_waiting"]

    async def _consumer(self, durable: str, stream: Stream) -> dict:
        return await self._ask(f"CONSUMER.INFO.{stream.name}.{durable}", {})

    async def _ask(self, subject: str, question: dict) -> dict:
        reply = await self._client.request(f"$JS.API.{subject}", json.dumps(question).encode(), timeout=5)
        answer = json.loads(reply.data)
        assert "error" not in answer, answer
        return answer
