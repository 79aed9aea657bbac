"""The composition root: one readable function that puts the gateway together."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from functools import partial

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from faststream.nats import NatsBroker
from starlette.exceptions import HTTPException
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from contracts.facts import Visibility
from gateway import subscribers
from gateway.api_keys.keys import ApiKeys
from gateway.api_keys.ring import Ring
from gateway.beginnings import Beginnings
from gateway.commands import Commands
from gateway.description import describe
from gateway.dialects.accounts import router as accounts
from gateway.dialects.fal import webhooks as fal_webhooks
from gateway.dialects.fal.door import Door
from gateway.dialects.fal.errors import NAMES as FAL_HEADERS
from gateway.dialects.instaveo import router as instaveo
from gateway.dialects.instaveo.ranking import Ranking
from gateway.dialects.jaaz import mounting as jaaz
from gateway.dialects.jaaz.answers import Desk, make_desk
from gateway.dialects.modelark import router as modelark
from gateway.dialects.modelark import videos as modelark_videos
from gateway.dialects.native import account as native_account
from gateway.dialects.native import api_keys as native_api_keys
from gateway.dialects.native import events as native_events
from gateway.dialects.native import incoming as native_incoming
from gateway.dialects.native import operator as native_operator
from gateway.dialects.native import provider_keys as native_provider_keys
from gateway.dialects.native import router as native
from gateway.dialects.native import timeline as native_timeline
from gateway.dialects.native import uploads as native_uploads
from gateway.dialects.native import visibility as native_visibility
from gateway.dialects.native import webhooks as native_webhooks
from gateway.dialects.openai import router as openai
from gateway.dialects.openai.heading import NAMES as OPENAI_HEADERS
from gateway.dialects.openai.heading import Heading
from gateway.dialects.reelmate import mounting as reelmate
from gateway.dialects.reelmate.forgetting import Forgetting
from gateway.dialects.replicate import files as replicate_files
from gateway.dialects.replicate import router as replicate
from gateway.dialects.replicate import webhooks as replicate_webhooks
from gateway.dialects.social import router as social
from gateway.dialects.supabase import auth as supabase_auth
from gateway.dialects.supabase import router as supabase
from gateway.dialects.surface import Surface
from gateway.edge import Allowance, BodyLimit, Cookies, shape_of
from gateway.figures import Figures
from gateway.identity import Identity, Keys, jwks_url
from gateway.inputs import Inputs
from gateway.linking import Links
from gateway.listeners import Listeners
from gateway.live import Hub
from gateway.media import make_redirect
from gateway.oauth import OAuth
from gateway.offers import Offers
from gateway.payments import Payments
from gateway.provider_keys import ProviderKeys
from gateway.proxies import Proxies
from gateway.queries import Queries
from gateway.rates import Rates
from gateway.refusals import refusal_of
from gateway.settings import Settings
from gateway.sockets.server import MAX_FRAME_BYTES, Sockets
from gateway.streaming import Straight
from gateway.studio import router as studio
from gateway.sweeper import Sweeper
from gateway.tokens import Tokens
from gateway.uploads import FORM_BYTES, Uploads
from gateway.uploads import ROUTE as UPLOADS_ROUTE
from gateway.users import Users
from gateway.waiting import Verdicts
from gateway.webhooks.endpoints import Webhooks
from gateway.webhooks.sender import Sender
from gateway.webhooks.styles import STANDARD, Style, standard
from runtime import health, telemetry
from runtime.broker import make_broker
from runtime.consumption import Consumers
from runtime.database import Database
from runtime.health import Check, LoopLag

SERVICE = "gateway"
JOIN_AGAIN_SECONDS = 1.0
_DESCRIPTION = """
Ask for a picture; Darkroom holds the credits, calls the provider, stores the bytes and settles the bill.

Give a Supabase access token as `Authorization: Bearer …`. `POST /v1/generations` answers at once;
follow `GET /v1/generations/{id}/events`, or look again. You pay for what is delivered, and never more than the quote.
"""

log = structlog.get_logger()


def create_app(settings: Settings) -> FastAPI:
    """The gateway, ready to be served."""
    telemetry.configure(settings.process, SERVICE)
    lag = LoopLag()
    database = Database(settings.database, SERVICE)

    async def reconnected() -> None:
        await consumers.reconnected()
        await hub.reconnected()

    broker = make_broker(settings.broker, SERVICE, reconnected)
    consumers = Consumers(broker)
    hub = Hub(broker)
    offers = Offers(database, broker)
    inputs = Inputs(broker, settings.addresses, settings.outbound)
    commands = Commands(database, broker, offers, inputs, settings.limits, settings.sweeper, settings.funding)
    queries = Queries(database, broker, offers, inputs)
    sweeper, forgetting = Sweeper(database, broker, commands, settings.sweeper), Forgetting(database, broker)
    figures = Figures(database, broker, settings.money.credit_price)
    keys = Keys(jwks_url(settings.tokens))
    identity = Identity(
        settings.tokens,
        keys,
        local_mode=settings.limits.local_mode,
        proxies=Proxies(settings.doors),
        links=Links(database),
        ring=Ring(database),
        rates=commands.rates,
        sessions=Tokens(settings.tokens, database),
    )
    sockets = Sockets(identity, hub, database, broker, settings.money.credit_price)
    surface = Surface(
        commands,
        queries,
        Webhooks(database, settings.webhooks, settings.outbound, settings.addresses),
        ProviderKeys(broker),
        Payments(broker, commands.rates),
        identity,
        Verdicts(broker, database, settings.limits.sync_wait_seconds),
        hub,
        database,
        broker,
        settings.addresses,
        Uploads(
            database, broker, settings.limits.max_upload_bytes, Visibility(settings.addresses.media_upload_visibility)
        ),
        settings.money.credit_price,
        ApiKeys(database),
        Users(database, settings.users, commands.rates),
        Tokens(settings.tokens, database),
        sockets,
        OAuth(settings.tokens, settings.addresses),
    )
    subscribers.register(consumers, broker, database, commands, surface.verdicts, settings.sweeper)
    desk = make_desk(surface)
    sender = Sender(database, hub, settings.webhooks, settings.outbound, _styles(surface))

    async def join_bus() -> None:
        """The bus may come later: what is accepted meanwhile is driven then."""
        await _connect(broker)
        await consumers.start()
        await hub.start()
        await sockets.rooms.joined_bus()
        log.info("broker.joined")

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        lag.start()
        joining = asyncio.create_task(join_bus(), name="join bus")
        loops = (offers, sweeper, sender, figures, Ranking(database), forgetting, desk.agents)
        for loop in loops:
            await loop.start()
        yield
        joining.cancel()
        await sockets.stop()
        for loop in reversed(loops):
            await loop.stop()
        await hub.stop()
        await consumers.stop()
        with contextlib.suppress(Exception):
            await broker.stop()
        await keys.close()
        await database.close()
        lag.stop()

    app = _application(lifespan)
    # The bus is no condition of being ready: without it generations are accepted and driven later.
    _add_routes(app, surface, desk, settings, health.routes(lag, _checks(database, offers)))
    _add_edges(app, surface, settings, commands.rates)
    describe(app)
    return app


def _styles(surface: Surface) -> dict[str, Style]:
    """How webhooks are told, by the API that they were made by."""
    return {
        STANDARD: standard(partial(native_webhooks.data_of, surface)),
        fal_webhooks.STYLE: fal_webhooks.style(surface),
        replicate_webhooks.STYLE: replicate_webhooks.style(surface),
    }


def _checks(database: Database, offers: Offers) -> list[Check]:
    async def check_database() -> list[str]:
        await database.check()
        return []

    async def check_offers() -> list[str]:
        return offers.problems()

    return [check_database, check_offers]


def _add_routes(
    app: FastAPI, surface: Surface, desk: Desk, settings: Settings, probes: Iterable[tuple[str, ASGIApp]]
) -> None:
    for dialect in (
        native,
        native_uploads,
        native_account,
        native_provider_keys,
        native_webhooks,
        native_incoming,
        native_visibility,
        native_api_keys,
        native_events,
        native_timeline,
        native_operator,
        modelark,
        openai,
        supabase,
        supabase_auth,
        accounts,
        replicate,
        studio,
    ):
        app.include_router(Beginnings(dialect.make_router(surface)))
    app.include_router(Beginnings(social.make_router(surface, settings.social)))
    app.include_router(Beginnings(instaveo.make_router(surface, settings.instaveo)))
    app.include_router(Beginnings(jaaz.make_router(desk, settings.tokens.session_secret)))
    app.include_router(Beginnings(reelmate.make_router(surface)))
    for named in (fal_webhooks, replicate_webhooks):
        surface.commands.repeats.of_dialect[named.STYLE] = named.repeat(surface)
    app.router.routes.append(Mount("/socket.io", surface.sockets.application))
    app.router.routes.append(Route("/media/{key:path}", make_redirect(settings.addresses, surface.identity)))
    for path, endpoint in probes:
        app.router.routes.append(Route(path, _Probe(endpoint), methods=["GET"]))


def _application(lifespan: Lifespan[FastAPI]) -> FastAPI:
    return FastAPI(
        title="Darkroom",
        version="1.0.0",
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # the studio has the page: the framework's own loads programs from another host
        redoc_url=None,
        openapi_tags=[
            {"name": "Generations", "description": "Make things and follow them."},
            {"name": "Batches", "description": "Many things at once, which never delay a person."},
            {"name": "Account", "description": "Credits, and paying for them."},
            {"name": "Webhooks", "description": "Be told of what ends, by Standard Webhooks 1.0."},
            {"name": "Uploads", "description": "Bring files: pictures, videos and sounds."},
            {"name": "Models", "description": "What can be made, and its price."},
            {"name": "API keys", "description": "Keys of programs, bounded in what they may do and spend."},
            {"name": "Operator", "description": "How the house stands: for an operator's token alone."},
            {"name": "Accounts", "description": "Signing in, as reelmate, social and instaveo do."},
            {"name": "Supabase Auth", "description": "The part of GoTrue that supabase-js needs."},
            {"name": "openai", "description": "What OpenAI's SDKs call: set their `base_url` to `/openai/v1`."},
            {"name": "modelark", "description": "The modelark frontend's routes."},
            {"name": "social", "description": "The social frontend's routes."},
            {"name": "instaveo", "description": "The instaveo frontend's routes."},
            {"name": "jaaz", "description": "The jaaz frontend's routes, its seed's and its client's."},
            {"name": "reelmate", "description": "The reelmate frontend's routes."},
            {"name": "replicate", "description": "Predictions, as clients of Replicate ask for them."},
            {"name": "supabase", "description": "What frontends ask Supabase itself: their tables, public objects."},
        ],
    )


async def _connect(broker: NatsBroker) -> None:
    while True:
        try:
            await broker.start()
            return
        except Exception as error:
            log.warning("broker.not_joined", error=f"{type(error).__name__}: {error}"[:200])
            await asyncio.sleep(JOIN_AGAIN_SECONDS)


def _add_edges(app: FastAPI, surface: Surface, settings: Settings, rates: Rates) -> None:
    """What surrounds every route: the shape of errors outside them, the bound on bodies, CORS on every answer."""
    app.add_exception_handler(HTTPException, _outside_routes)
    app.state.leaving = (surface.hub.close, surface.verdicts.close)
    own = (UPLOADS_ROUTE, modelark_videos.GENERATE, replicate_files.ROUTE)
    forms = (*own, *jaaz.UPLOADS, *reelmate.UPLOADS, *openai.FORMS)
    uploads = dict.fromkeys(forms, settings.limits.max_upload_bytes + FORM_BYTES)
    uploads |= {**jaaz.LARGER_BODIES, "/socket.io/": MAX_FRAME_BYTES}
    max_bytes = settings.limits.max_body_bytes
    app.add_middleware(BodyLimit, max_bytes=max_bytes, larger=uploads, shape_of=shape_of)
    app.add_middleware(Door, surface=surface, doors=settings.doors, max_bytes=max_bytes)
    app.add_middleware(Allowance, rates=rates, identity=surface.identity)
    app.add_middleware(Listeners, dialect_of_port=settings.doors.dialect_of_port)
    app.add_middleware(Heading, rates=rates)
    app.add_middleware(Cookies)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=[origin.strip() for origin in settings.addresses.cors_origins.split(",")],
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=[
            "Content-Range",
            "Deprecation",
            "ETag",
            "Link",
            "Location",
            "Preference-Applied",
            "RateLimit",
            "RateLimit-Policy",
            "Retry-After",
            "Sunset",
            "X-RateLimit-Limit",
            "X-RateLimit-Remaining",
            "X-RateLimit-Reset",
            *FAL_HEADERS,
            *OPENAI_HEADERS,
        ],
        max_age=600,
    )
    app.add_middleware(Straight)


class _Probe:
    """An ASGI application at the end of a route: a mount redirects `/ready`, which probes take for a yes."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._application(scope, receive, send)


async def _outside_routes(request: Request, error: Exception) -> Response:
    return shape_of(request.url.path)(refusal_of(error))  # type: ignore[arg-type]
