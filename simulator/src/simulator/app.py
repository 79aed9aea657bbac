"""The composition: every part built once, every route in one place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from simulator.admin import Admin
from simulator.anthropic import Anthropic
from simulator.ark import Ark
from simulator.ark_videos import VIDEO_MODELS, ArkVideos
from simulator.assets import Assets
from simulator.calls import Calls, Vendor
from simulator.clock import Clock
from simulator.desk import Desk
from simulator.elevenlabs import ElevenLabs
from simulator.exchange import Dialect, Exchange
from simulator.fal import Fal
from simulator.faults import Faults
from simulator.flow import Flow
from simulator.google import Google
from simulator.google_interactions import GoogleInteractions
from simulator.journal import Journal
from simulator.latency import Latency
from simulator.models import ARK_MODELS, LOCAL_MODELS, OPENAI_MODELS
from simulator.openai_chat import CHAT_MODELS, OpenAIChat
from simulator.openai_images import OpenAIEdits, OpenAIImages
from simulator.openai_moderation import OpenAIModeration
from simulator.openai_speech import SPEECH_MODELS, OpenAISpeech
from simulator.openai_videos import OpenAIVideos
from simulator.outside import Outside
from simulator.pictures import Gallery
from simulator.refusals import Refusal
from simulator.replicate import Replicate
from simulator.runway import Runway
from simulator.settings import Settings
from simulator.stability import Stability
from simulator.stripe.service import Stripe
from simulator.tasks import Tasks

BODY_BYTES_MAX = 64 * 1024 * 1024
SHUTDOWN_SECONDS = 0.5

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build_app(settings: Settings) -> web.Application:
    clock, faults, gallery = Clock(), Faults(), Gallery()
    latency = Latency(settings.latency, settings.seed)
    journal = Journal(settings.journal)
    assets = Assets(clock, gallery, settings.seed)
    calls = Calls(clock, latency, faults, journal)
    exchange = Exchange(
        calls=calls, clock=clock, faults=faults, gallery=gallery, assets=assets, variants=settings.variants
    )
    tasks = Tasks(clock, latency, journal)
    outside = Outside(clock, tasks)
    desk = Desk(calls, tasks, assets, outside, gallery, clock, faults, max(1, settings.variants))
    vendors = (
        Stability(desk), Fal(desk), Replicate(desk), ElevenLabs(desk), Runway(desk), Google(desk), Flow(desk),
    )  # fmt: skip
    anthropic = Anthropic(calls)
    local_chat = OpenAIChat(calls, clock, "compatible", None, "max_tokens")
    ark, openai, stripe = Ark(outside.fetch), OpenAIImages(), Stripe(clock, faults)

    def images(dialect: Dialect) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await exchange.serve(request, dialect)

        return handle

    async def finish(_: web.Application) -> AsyncIterator[None]:
        yield
        await stripe.deliveries.close()
        await outside.close()
        journal.close()
        gallery.close()

    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app.cleanup_ctx.append(finish)
    app.add_routes(
        [
            web.post("/ark/api/v3/images/generations", images(ark)),
            *ArkVideos(calls, tasks, assets, outside, clock).routes(),
            web.get("/ark/api/v3/models", _models([*ARK_MODELS, *VIDEO_MODELS])),
            web.post("/openai/v1/images/generations", images(openai)),
            *(route for vendor in vendors for route in vendor.routes()),
            *GoogleInteractions(desk).routes(),
            web.post("/openai/v1/images/edits", images(OpenAIEdits())),
            web.post("/openai/v1/chat/completions", OpenAIChat(calls, clock).complete),
            web.post("/openai/v1/audio/speech", OpenAISpeech(calls, gallery).speak),
            web.post("/openai/v1/moderations", OpenAIModeration(calls, outside).judge),
            *OpenAIVideos(calls, tasks, gallery).routes(),
            web.get("/openai/v1/models", _models([*OPENAI_MODELS, *CHAT_MODELS, *SPEECH_MODELS])),
            web.post("/compatible/v1/images/generations", images(OpenAIImages("compatible", LOCAL_MODELS))),
            web.post("/compatible/v1/chat/completions", local_chat.complete),
            web.post("/compatible/v1/audio/speech", OpenAISpeech(calls, gallery, "compatible", None).speak),
            web.post("/anthropic/v1/messages", anthropic.create),
            web.get("/assets/{name}", assets.serve),
            *stripe.routes(),
            *Admin(clock, latency, faults, journal, gallery, stripe).routes(),
            web.route("*", "/ark/{path:.*}", _unknown(ark)),
            web.route("*", "/openai/{path:.*}", _unknown(openai)),
            web.route("*", "/anthropic/{path:.*}", _unknown(anthropic)),
            *(web.route("*", f"/{vendor.provider}/{{path:.*}}", _unknown(vendor)) for vendor in vendors),
        ]
    )
    return app


async def start(settings: Settings) -> tuple[web.AppRunner, int]:
    """Listens; returns the runner, to be cleaned up by the caller, and the port."""
    runner = web.AppRunner(build_app(settings), access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    await web.TCPSite(runner, settings.host, settings.port, backlog=1024).start()
    address = runner.addresses[0]
    return runner, int(address[1])


def _models(names: list[str]) -> Handler:
    listing = {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "simulator"} for name in names],
    }

    async def handle(_: web.Request) -> web.StreamResponse:
        return web.json_response(listing)

    return handle


def _unknown(vendor: Vendor) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        refusal = Refusal(404, None, f"Unknown address: {request.method} {request.path}", kind="invalid_request_error")
        return web.json_response(vendor.error(refusal, ""), status=404)

    return handle
