"""The composition root: one readable function that puts storage together."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import structlog
from faststream.asgi import AsgiFastStream

from runtime import health, telemetry
from runtime.broker import connected, make_broker
from runtime.consumption import Consumers
from runtime.database import Database
from runtime.health import LoopLag
from storage import subscribers
from storage.access import Access
from storage.claims import Claims
from storage.collector import Collector
from storage.downloads import Bounds, Downloads
from storage.fresh import fresh_address
from storage.handover import Handover, ToProxy, ToStore
from storage.ingest import Ingest
from storage.keeping import Bounds as KeepingBounds
from storage.keeping import Keeping
from storage.lending import Lending
from storage.media import Media
from storage.objects import Objects
from storage.objects.incoming import Incoming
from storage.objects.local import LocalObjects
from storage.objects.minio import MinioObjects
from storage.objects.moving import MovingObjects
from storage.plans import Plans, ask_ledger
from storage.preparation import Preparation
from storage.scanner import Scanner
from storage.settings import KeepingSettings, MediaSettings, Settings
from storage.stores import make_objects
from storage.uploads import Uploads
from storage.variants import Variants
from storage.workshop import Workshop

SERVICE = "storage"
DAY_SECONDS = 86_400
STORE_CHECK_SECONDS = 15.0
"""The store is asked at most so often whether it can be written to; to write costs money."""

log = structlog.get_logger()
Application = Callable[[Any, Any, Any], Awaitable[None]]


def create_app(settings: Settings) -> Application:
    """Storage, ready to be served: its consumers, `/media`, and what it says about itself."""
    telemetry.configure(settings.process, SERVICE)
    lag = LoopLag()
    database = Database(settings.database, SERVICE)

    async def reconnected() -> None:
        await consumers.reconnected()

    broker = make_broker(settings.broker, SERVICE, reconnected)
    consumers = Consumers(broker)
    objects = make_objects(settings.store)
    limits = settings.media
    claims = Claims(broker)
    downloads = Downloads(
        settings.outbound,
        claims,
        partial(fresh_address, broker),
        pictures=Bounds(limits.media_max_bytes, limits.media_fetch_seconds),
        recordings=Bounds(limits.media_recording_max_bytes, limits.media_recording_fetch_seconds),
    )
    workshop = Workshop()
    preparation = Preparation(workshop)
    ingest = Ingest(database, broker, downloads, objects, preparation)
    subscribers.register(consumers, broker, database, ingest)
    variants = Variants(database, objects, workshop)
    media = Media(database, objects, variants, make_access(limits), make_handover(limits, objects))
    keeping = make_keeping(database, settings.keeping, Plans(database, partial(ask_ledger, broker)))
    incoming = make_incoming(objects)
    uploads = Uploads(
        database,
        objects,
        claims,
        preparation,
        keeping,
        scanner=make_scanner(settings.keeping),
        incoming=incoming,
        max_bytes=settings.keeping.media_upload_max_bytes,
    )
    broker.include_router(
        subscribers.questions(database, uploads, keeping, Lending(database, objects, claims, variants))
    )
    collector = Collector(
        database,
        broker,
        objects,
        keeping,
        incoming,
        every_seconds=settings.collector.collect_seconds,
        orphan_seconds=settings.collector.orphan_seconds,
    )

    async def check_database() -> list[str]:
        await database.check()
        return []

    async def check_broker() -> list[str]:
        return consumers.problems() if connected(broker) else ["broker: not connected"]

    async def begin() -> None:
        lag.start()
        await downloads.start()

    async def consume() -> None:
        await consumers.start()
        collector.start()

    async def hand_over() -> None:
        await asyncio.gather(collector.stop(), consumers.stop())

    async def end() -> None:
        await downloads.close()
        preparation.close()
        workshop.close()
        await objects.close()
        await database.close()
        lag.stop()

    own = health.routes(lag, [check_database, check_broker, make_store_check(objects)])
    app = AsgiFastStream(
        broker,
        asgi_routes=own,
        logger=None,
        on_startup=[begin],
        after_startup=[consume],
        on_shutdown=[hand_over],
        after_shutdown=[end],
    )
    paths = {path for path, _ in own}

    async def storage(scope: Any, receive: Any, send: Any) -> None:
        # FastStream's routes are whole paths; all that is not one of them is an address of media, or none.
        if scope["type"] == "http" and scope["path"] not in paths:
            await media(scope, receive, send)
        else:
            await app(scope, receive, send)

    return storage


def make_access(settings: MediaSettings) -> Access:
    key = settings.media_signing_key.get_secret_value() if settings.media_signing_key else None
    return Access(key, all_signed=settings.media_addresses == "signed")


def make_handover(settings: MediaSettings, objects: Objects) -> Handover | None:
    """Who sends the bytes in our place, where the settings name somebody who can."""
    if isinstance(objects, LocalObjects) and settings.media_accel_prefix is not None:
        return ToProxy(settings.media_accel_prefix)
    if isinstance(objects, MinioObjects) and settings.media_presigned_seconds:
        return ToStore(objects, settings.media_presigned_seconds)
    return None


def make_incoming(objects: Objects) -> Incoming | None:
    """Where browsers put files by themselves: only a bucket can be told what to take."""
    current = objects.current if isinstance(objects, MovingObjects) else objects
    return Incoming(current) if isinstance(current, MinioObjects) else None


def make_keeping(database: Database, settings: KeepingSettings, plans: Plans) -> Keeping:
    bounds = KeepingBounds(
        quota_bytes=settings.media_quota_bytes or None,
        retention_days=settings.media_retention_days or None,
        trash_seconds=settings.media_trash_days * DAY_SECONDS,
    )
    return Keeping(database, bounds, plans)


def make_scanner(settings: KeepingSettings) -> Scanner | None:
    """Raises ValueError for an address that is none."""
    if settings.clamd_address is None:
        return None
    host, _, port = settings.clamd_address.rpartition(":")
    return Scanner(host.strip("[]"), int(port))


def make_store_check(objects: Objects) -> health.Check:
    """Whether the store can be written to; remembered for a while when it can."""
    good_until = 0.0

    async def check_store() -> list[str]:
        nonlocal good_until
        if time.monotonic() >= good_until:
            await objects.check()
            good_until = time.monotonic() + STORE_CHECK_SECONDS
        return []

    return check_store
