"""The routes of the seed about a user's configurations, settings, money and files: /api/v1."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from gateway.dialects.jaaz import errors, translate
from gateway.dialects.jaaz.answers import ERRORS, FORM, Desk
from gateway.dialects.jaaz.schemas import (
    BalanceView,
    Configs,
    ConfigsView,
    Done,
    FileList,
    SettingsChange,
    SettingsView,
    Uploaded,
    UsageList,
)
from gateway.dialects.surface import route_class
from gateway.identity import Caller

MAX_PAGE = 500
MAX_OFFSET = 10_000
DEFAULTS = {"theme": "light", "language": "en", "canvas_settings": {}}
UPLOAD = "/api/v1/upload"


def make_router(desk: Desk) -> APIRouter:
    """What belongs to a user."""
    router = APIRouter(prefix="/api/v1", tags=["jaaz"], route_class=route_class(errors.render), responses=ERRORS)
    surface, configs, files = desk.surface, desk.configs, desk.files

    @router.get("/configs", summary="Your configuration of each provider")
    async def read_configs(request: Request) -> ConfigsView:
        """A key is shown as a mask: only its last four characters are ever said again."""
        return ConfigsView(providers=await configs.read(await desk.who(request)))

    @router.put("/configs", summary="Configure providers")
    async def write_configs(body: Configs, request: Request) -> Done:
        await configs.write(await desk.who(request), translate.wishes(body.providers))
        return Done()

    @router.get("/settings", summary="Your settings")
    async def read_settings(request: Request) -> SettingsView:
        return await _settings(desk, await desk.who(request))

    @router.put("/settings", summary="Change settings")
    async def write_settings(body: SettingsChange, request: Request) -> Done:
        who = await desk.who(request)
        if body.ai_providers is not None:
            await configs.write(who, translate.wishes(body.ai_providers))
        await configs.set(who, body.model_dump(exclude_unset=True, exclude_none=True, exclude={"ai_providers"}))
        return Done()

    @router.get("/billing/balance", summary="What your credits are worth")
    async def balance(request: Request) -> BalanceView:
        found = await surface.queries.balance(await desk.who(request))
        return translate.balance(found, surface.credit_price)

    @router.get("/billing/usage", summary="What your credits went into")
    async def usage(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
        offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
    ) -> UsageList:
        """Newest first, of the last 30 days."""
        report = await surface.queries.usage(await desk.who(request), None, None, limit, offset)
        return translate.usage(report, surface.credit_price)

    @router.post("/upload", summary="Bring a file", openapi_extra=FORM)
    async def upload(request: Request) -> Uploaded:
        """A picture, a video or a sound, known by its content."""
        who, key = await desk.who(request), request.headers.get("idempotency-key")
        return translate.uploaded(surface, await files.take_sent(who, request, key))

    @router.get("/files", summary="Your files")
    async def listing(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
        offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
    ) -> FileList:
        found = await files.of(await desk.who(request), limit, offset)
        return FileList(files=[translate.file_view(surface, file) for file in found])

    return router


async def _settings(desk: Desk, who: Caller) -> SettingsView:
    kept = {**DEFAULTS, **await desk.configs.settings(who)}
    known = {name: kept[name] for name in DEFAULTS}
    return SettingsView.model_validate({**known, "ai_providers": await desk.configs.read(who)})
