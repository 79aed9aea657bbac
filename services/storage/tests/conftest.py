"""A storage service in parts: real Postgres, real NATS, local files, and a provider on loopback."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import nats
import pytest
from aiohttp import web
from faststream.nats import NatsBroker
from nats.aio.client import Client

from contracts.topology import STREAMS
from darkroom.jetstream import RefusedError, ask
from darkroom.topology.apply import apply
from runtime.broker import make_broker
from runtime.consumption import Consumers
from runtime.database import Database
from runtime.outbound import OutboundSettings
from runtime.settings import BrokerSettings, DatabaseSettings
from storage import subscribers
from storage.claims import Claims
from storage.downloads import Bounds, Downloads
from storage.fresh import fresh_address
from storage.ingest import Ingest
from storage.keeping import Bounds as KeepingBounds
from storage.keeping import Keeping
from storage.lending import Lending
from storage.media import Media
from storage.objects import Objects
from storage.objects.incoming import Incoming
from storage.objects.local import LocalObjects
from storage.objects.minio import MinioObjects
from storage.preparation import Preparation
from storage.scanner import Scanner
from storage.uploads import Uploads
from storage.variants import Variants
from storage.workshop import Workshop

from .samples import OPEN, Provider, picture, rendered
from .serving import Stored, served

MAX_BYTES = 2_000_000
GIVE_UP_SECONDS = 2.0


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    provider = Provider()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", provider.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    provider.port = runner.addresses[0][1]
    yield provider
    await runner.cleanup()


@pytest.fixture(scope="module")
async def database_url(make_database: Callable[..., str], make_template: Callable[[str], Awaitable[str]]) -> str:
    return make_database("storage", like=await make_template("storage"))


@pytest.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(DatabaseSettings(database_url=database_url), "storage-tests")  # type: ignore[arg-type]
    yield database
    await database.close()


@pytest.fixture
async def objects(tmp_path: Path) -> AsyncIterator[LocalObjects]:
    objects = LocalObjects(tmp_path / "media")
    yield objects
    await objects.close()


@pytest.fixture
async def bucket(s3_server: Any) -> AsyncIterator[MinioObjects]:
    keys = s3_server.access_key, s3_server.secret_key
    bucket = MinioObjects(s3_server.endpoint, s3_server.bucket, *keys, "us-east-1")
    yield bucket
    await bucket.close()


@pytest.fixture(scope="module")
async def bus(nats_server: Any) -> AsyncIterator[Client]:
    """A connection that may do anything, on a bus with nothing but the topology on it."""
    client = await nats.connect(nats_server.nats_url)
    for stream in STREAMS:
        with contextlib.suppress(RefusedError):
            await ask(client, f"STREAM.DELETE.{stream.name}")
    await apply(client)
    yield client
    await client.close()


@pytest.fixture
async def broker(bus: Client, nats_server: Any) -> AsyncIterator[NatsBroker]:
    broker = make_broker(BrokerSettings(nats_url=nats_server.nats_url), "storage")
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
async def downloads(broker: NatsBroker, provider: Provider) -> AsyncIterator[Downloads]:
    allowed = OutboundSettings(outbound_allow=f"127.0.0.1:{provider.port}")
    bounds = Bounds(MAX_BYTES, GIVE_UP_SECONDS)
    ask = partial(fresh_address, broker)
    downloads = Downloads(allowed, Claims(broker), ask, pictures=bounds, recordings=bounds)
    await downloads.start()
    yield downloads
    await downloads.close()


@pytest.fixture(scope="session")
async def workshop() -> AsyncIterator[Workshop]:
    workshop = Workshop()
    yield workshop
    workshop.close()


@pytest.fixture
async def preparation(workshop: Workshop) -> AsyncIterator[Preparation]:
    preparation = Preparation(workshop)
    yield preparation
    preparation.close()


@pytest.fixture
def lending(database: Database, objects: LocalObjects, broker: NatsBroker, workshop: Workshop) -> Lending:
    return Lending(database, objects, Claims(broker), Variants(database, objects, workshop))


Make = Callable[..., Uploads]


@pytest.fixture
def make(database: Database, broker: Any, objects: LocalObjects, preparation: Preparation) -> Make:
    def make(
        scanner: Scanner | None = None,
        incoming: Incoming | None = None,
        quota_bytes: int | None = None,
        **other: Objects,
    ) -> Uploads:
        return Uploads(
            database,
            other.get("objects", objects),
            Claims(broker),
            preparation,
            Keeping(database, KeepingBounds(quota_bytes=quota_bytes)),
            scanner=scanner,
            incoming=incoming,
            max_bytes=MAX_BYTES,
        )

    return make


@pytest.fixture
async def ingest(
    database: Database, broker: NatsBroker, downloads: Downloads, objects: LocalObjects, preparation: Preparation
) -> Ingest:
    return Ingest(database, broker, downloads, objects, preparation)


@pytest.fixture
async def consuming(broker: NatsBroker, database: Database, ingest: Ingest) -> AsyncIterator[Consumers]:
    """The service's subscriptions, running."""
    consumers = Consumers(broker)
    subscribers.register(consumers, broker, database, ingest)
    await consumers.start()
    yield consumers
    await consumers.stop()


@pytest.fixture
async def base(database: Database, objects: LocalObjects, workshop: Workshop) -> AsyncIterator[str]:
    """The address of a server of media that needs no key."""
    async with served(Media(database, objects, Variants(database, objects, workshop), OPEN)) as base:
        yield base


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def stored(ingest: Ingest, provider: Provider) -> Stored:
    """A picture that has been taken in, twice as wide as high."""
    content = picture(1600, 800, "JPEG", quality=95)
    fact = rendered(provider.url("a", content))
    [asset] = (await ingest.store(fact)).data.assets
    return Stored(asset, content, fact.data.request.user_id)
