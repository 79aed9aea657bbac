"""The composition root: one readable function that puts the generator together."""

import asyncio
import contextlib
from functools import partial
from uuid import uuid4

import aiohttp
import structlog
from faststream.asgi import AsgiFastStream
from faststream.nats import NatsBroker
from sqlalchemy.exc import DBAPIError

from generator import subscribers
from generator.adapters import everybody, keys, make_provider
from generator.announcements import SOURCE as SERVICE
from generator.announcements import Announcer
from generator.breakers import Breakers
from generator.callbacks import App, Callbacks
from generator.catalog import Catalog
from generator.claims import Claims
from generator.drive import Driver
from generator.figures import Figures
from generator.follow import Follower
from generator.fresh import fresh_address
from generator.generate import Generator
from generator.history import History
from generator.leases import Leases
from generator.limits import Limits
from generator.moderation import Moderation
from generator.outside import Outside
from generator.providers import darkroom
from generator.providers.interface import Provider
from generator.reuse import Reuses
from generator.rules import Rules
from generator.settings import Settings
from generator.stopping import Stopper
from generator.submit import Submitter
from generator.user_keys import UserKeys
from generator.voices import Voices
from generator.work import Work
from runtime import health, telemetry
from runtime.broker import connected, make_broker
from runtime.consumption import Consumers
from runtime.database import Database
from runtime.health import Check, LoopLag
from runtime.outbound import make_session

log = structlog.get_logger()


def create_app(settings: Settings) -> App:
    """The generator, ready to be served."""
    telemetry.configure(settings.process, SERVICE)
    lag = LoopLag()
    database = Database(settings.database, SERVICE)

    async def reconnected() -> None:
        await consumers.reconnected()

    broker = make_broker(settings.broker, SERVICE, reconnected)
    consumers = Consumers(broker)
    providers: dict[str, Provider] = {}
    catalog = Catalog(database, [*keys(settings.providers), darkroom.NAME])
    work = Work(database, uuid4(), settings.work.lease_seconds)
    breakers, limits, rules = Breakers(database), Limits(database), Rules(database)
    moderation = Moderation(rules, providers, settings.moderation)
    announcer = Announcer(broker, moderation.judges_frames)
    submitter = Submitter(providers, Claims(broker), announcer, moderation)
    follower = Follower(submitter, announcer, History(database), breakers)
    driver = Driver(work, submitter, follower, announcer, breakers, limits, moderation, Reuses(database, broker))
    generator = Generator(work, catalog, driver, follower, announcer)

    figures = Figures(database)
    stopper = Stopper(work, catalog, submitter)
    callbacks = Callbacks(catalog, follower, broker, providers, settings.work.public_callback_url)
    submitter.may_send, submitter.callback_url = work.surely_holds, callbacks.url
    sessions: list[aiohttp.ClientSession] = []

    def make(name: str, key: str) -> Provider:
        return make_provider(sessions[0], settings.providers, name, key)

    user_keys = UserKeys(database, settings.work.key_secrets, make)
    submitter.own, submitter.keys_read_at = user_keys.provider, lambda: user_keys.read_at
    shared = (catalog, breakers, limits, rules, user_keys)
    leases = Leases(work, generator, follower, stopper, shared, settings.work.capacity)
    subscribers.register(
        consumers,
        broker,
        database,
        generator,
        catalog,
        user_keys,
        partial(fresh_address, work, catalog, submitter),
        Outside(work, generator, announcer, callbacks),
        moderation,
        Voices(providers, user_keys.provider, Claims(broker)),
        settings.work,
    )

    async def begin() -> None:
        lag.start()
        sessions.append(make_session(settings.outbound))
        providers.update(everybody(sessions[0], settings.providers))
        await leases.read()
        with contextlib.suppress(OSError, DBAPIError):  # whoever starts next does it
            await user_keys.rotate()
        leases.start()
        figures.start(providers)
        await callbacks.start()
        await consumers.start()
        log.info("generator.started", providers=sorted(providers), process=str(work.process))

    async def finish() -> None:
        figures.stop()
        await asyncio.gather(consumers.stop(), leases.drain())
        await leases.stop()

    async def end() -> None:
        for session in sessions:
            await session.close()
        await database.close()
        lag.stop()

    app = AsgiFastStream(
        broker,
        asgi_routes=health.routes(lag, _checks(database, broker, consumers, catalog)),
        logger=None,
        after_startup=[begin],
        on_shutdown=[finish],
        after_shutdown=[end],
    )
    return callbacks.before(app)


def _checks(database: Database, broker: NatsBroker, consumers: Consumers, catalog: Catalog) -> list[Check]:
    """What makes a process ready."""

    async def check_database() -> list[str]:
        await database.check()
        return []

    async def check_broker() -> list[str]:
        return [] if connected(broker) else ["broker: not connected"]

    async def check_consumers() -> list[str]:
        return consumers.problems()

    async def check_catalog() -> list[str]:
        return [] if catalog.known else ["catalog: not read yet"]

    return [check_database, check_broker, check_consumers, check_catalog]
