"""The gateway as it runs: HTTP in front, real NATS and Postgres behind, the other services played by one object."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import nats
import pytest
import uvicorn
from fastapi import FastAPI
from nats.aio.client import Client as NatsClient
from pydantic import SecretStr

from darkroom.jetstream import ask
from darkroom.migration import migrations_of, upgrade
from darkroom.topology.apply import apply
from gateway.app import create_app
from gateway.listeners import WEBSOCKETS
from gateway.settings import AddressSettings, LimitSettings, Settings, SweeperSettings, TokenSettings, WebhookSettings
from gateway.sockets.server import MAX_FRAME_BYTES
from runtime.outbound import OutboundSettings
from runtime.settings import BrokerSettings, DatabaseSettings, ProcessSettings

from .client import SECRET, Client, token, until
from .lenders import Lender, lending
from .players import CATALOG, PRICES, Players
from .sockets import Open, Socket

PUBLIC_URL = "https://darkroom.example"
DESCRIPTION = Path(__file__).parents[3] / "docs/openapi.json"
MANY = 1_000_000


@dataclass(frozen=True, slots=True)
class Service:
    """A gateway that listens."""

    url: str
    app: FastAPI


class Server(uvicorn.Server):
    """Leaves the signals to the test run."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(settings: Settings, client: NatsClient | None = None, port: int = 0) -> AsyncIterator[Service]:
    """A gateway on a free port, or on the one given; given a client of its bus it is ready and has joined that bus."""
    before = await followers(client) if client else set()
    database_url, began_at = settings.database.database_url.get_secret_value(), datetime.now(UTC)
    app = create_app(settings)
    # Putting it together takes seconds; contracts/tests says that the exported one is the same.
    app.openapi_schema = json.loads(DESCRIPTION.read_text())
    config = uvicorn.Config(
        app,
        port=port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
        proxy_headers=False,
        ws=WEBSOCKETS,
        ws_max_size=MAX_FRAME_BYTES,
    )
    server = Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.wait([task], timeout=0.01)
        assert not task.done(), "the gateway ended at its start"
    url = "http://{}:{}".format(*server.servers[0].sockets[0].getsockname())
    try:
        if client:
            await until(partial(is_ready, url, client, before), 20)
            await until(partial(has_heard, database_url, began_at), 20)
        yield Service(url, app)
    finally:
        server.should_exit = True
        await task


@contextlib.asynccontextmanager
async def also_at(app: Any, port: int, **tls: Any) -> AsyncIterator[None]:
    """The same application behind one more socket."""
    config = uvicorn.Config(
        app, port=port, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1, **tls
    )
    server = Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.wait([task], timeout=0.01)
        assert not task.done(), "it ended at its start"
    try:
        yield
    finally:
        server.should_exit = True
        await task


async def is_ready(url: str, client: NatsClient, followers_before: set[str]) -> bool:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/ready") as answer:
        return answer.status == 200 and bool(await followers(client) - followers_before)


async def has_heard(database_url: str, began_at: datetime) -> bool:
    """Whether what is offered was heard since, and not recalled."""
    connection = await asyncpg.connect(database_url)
    heard_at = await connection.fetchval("SELECT min(heard_at) FROM offers")
    await connection.close()
    return heard_at is not None and bool(heard_at > began_at)


async def followers(client: NatsClient) -> set[str]:
    """The consumers of notifications: every gateway that has joined the bus has one."""
    return set((await ask(client, "CONSUMER.NAMES.NOTIFICATIONS"))["consumers"] or ())


@contextlib.asynccontextmanager
async def playing(nats_url: str) -> AsyncIterator[tuple[NatsClient, Players]]:
    """The topology, a client of the bus and the players on it."""

    async def quiet(_: Exception) -> None:
        """A bus that a test took away is no news."""

    client = await nats.connect(
        nats_url, max_reconnect_attempts=-1, reconnect_time_wait=0.1, error_cb=quiet, name="players"
    )
    await apply(client)
    players = Players(client)
    await players.start()
    try:
        yield client, players
    finally:
        await players.stop()
        await client.close()


async def migrated(database_url: str) -> str:
    """A database as a gateway finds it that ran before: migrated, with the offers that it last heard."""
    await upgrade(database_url, migrations_of("gateway"))
    return await with_offers(database_url)


async def with_offers(database_url: str) -> str:
    connection = await asyncpg.connect(database_url)
    for name, document in [("catalog", CATALOG), ("prices", PRICES)]:
        await connection.execute("INSERT INTO offers VALUES ($1, $2)", name, document.model_dump_json())
    await connection.close()
    return database_url


def settings_of(nats_url: str, database_url: str) -> Settings:
    return Settings(
        BrokerSettings(nats_url=nats_url),
        DatabaseSettings(database_url=SecretStr(database_url)),
        ProcessSettings(log_level="WARNING"),
        TokenSettings(supabase_jwt_secret=SecretStr(SECRET)),
        AddressSettings(public_url=PUBLIC_URL, public_media_url="https://media.example"),
        LimitSettings(requests_per_minute=MANY, sync_wait_seconds=5),
        SweeperSettings(),
        WebhookSettings(webhook_signing_key=SecretStr("a key that signs in the tests")),
        OutboundSettings(outbound_allow="127.0.0.0/8"),
    )


def with_limits(settings: Settings, **limits: Any) -> Settings:
    return replace(settings, limits=settings.limits.model_copy(update=limits))


def with_devices(settings: Settings) -> Settings:
    """Where devices are signed in by a user of ours, on the page or with a token."""
    secrets = {
        "jwt_secret": SecretStr("a secret of the devices' own"),
        "session_secret": SecretStr("a secret of the page's own"),
    }
    return replace(
        settings,
        tokens=settings.tokens.model_copy(update=secrets),
        users=settings.users.model_copy(update={"local_users": True}),
    )


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Players on a busy machine are no silent ledger and no silent storage: a test whose user cannot pay is refused."""
    monkeypatch.setattr("gateway.funds.ANSWER_TIMEOUT_SECONDS", 2.0)
    monkeypatch.setattr("gateway.room.ANSWER_TIMEOUT_SECONDS", 2.0)


@pytest.fixture(scope="module")
async def played(nats_server: Any) -> AsyncIterator[tuple[NatsClient, Players]]:
    async with playing(nats_server.nats_url) as both:
        yield both


@pytest.fixture(scope="module")
def bus(played: tuple[NatsClient, Players]) -> NatsClient:
    return played[0]


@pytest.fixture(scope="module")
def players(played: tuple[NatsClient, Players]) -> Players:
    return played[1]


@pytest.fixture(scope="module")
async def settings(
    nats_server: Any, make_database: Callable[..., str], make_template: Callable[[str], Awaitable[str]]
) -> Settings:
    """What the module's gateway is told; a module with other wishes has a fixture of this name."""
    copy = make_database("gateway", like=await make_template("gateway"))
    return settings_of(nats_server.nats_url, await with_offers(copy))


@pytest.fixture(scope="module")
async def service(settings: Settings, bus: NatsClient, players: Players) -> AsyncIterator[Service]:
    """The module's gateway. One at a time: two on different databases would take each other's facts."""
    async with serving(settings, bus) as gateway:
        yield gateway


@pytest.fixture(scope="module")
async def postgres(settings: Settings) -> AsyncIterator[asyncpg.Pool]:
    """The gateway's own database, for a look at the rows."""
    async with asyncpg.create_pool(settings.database.database_url.get_secret_value(), min_size=1, max_size=4) as pool:
        yield pool


@pytest.fixture(scope="module")
async def lender(bus: NatsClient) -> AsyncIterator[Lender]:
    """Who lends what the players made."""
    async with lending(bus) as lender:
        yield lender


@pytest.fixture(scope="session")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=2)) as session:
        yield session


MakeClient = Callable[..., Client]


@pytest.fixture
def client_of(http: aiohttp.ClientSession, service: Service) -> MakeClient:
    """Clients by user, by bearer, or (bearer=None) of nobody. Every test has users of its own."""

    def make(user_id: UUID | None = None, bearer: str | None = "") -> Client:
        user_id = user_id or uuid4()
        return Client(http, service.url, user_id, token(user_id) if bearer == "" else bearer)

    return make


@pytest.fixture
def client(client_of: MakeClient) -> Client:
    return client_of()


@pytest.fixture
def nobody(client_of: MakeClient) -> Client:
    return client_of(bearer=None)


@pytest.fixture
async def open_socket(service: Service) -> AsyncIterator[Open]:
    """Opens sockets, of a user or with a token, and closes them at the end."""
    opened: list[Socket] = []

    async def open_one(
        user_id: UUID | None = None,
        auth: Any = "",
        url: str = service.url,
        transports: tuple[str, ...] = ("websocket",),
    ) -> Socket:
        socket = Socket(user_id or uuid4())
        opened.append(socket)
        given = {"token": token(socket.user_id)} if auth == "" else auth
        await socket.client.connect(url, auth=given, transports=list(transports), wait_timeout=10)
        await socket.hears("connected")
        return socket

    yield open_one
    for socket in opened:
        with contextlib.suppress(Exception):
            await socket.client.eio.disconnect(abort=True)  # a poll is not waited for
