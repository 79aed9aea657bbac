"""The routes of the social frontend: the same three below two prefixes, and texts."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from contracts.facts import Kind
from contracts.money import Balance
from gateway.beginnings import together
from gateway.dialects.callers import caller
from gateway.dialects.endings import delivered
from gateway.dialects.social import errors, pictures, translate
from gateway.dialects.social.admission import admit
from gateway.dialects.social.pictures import Page, Picture
from gateway.dialects.social.schemas import (
    DEFAULT_PAGE_LIMIT,
    MAX_PAGE,
    MAX_PAGE_LIMIT,
    DownloadAnswer,
    ErrorBody,
    GeneratedImagesAnswer,
    GeneratedTextAnswer,
    GenerateImage,
    GenerateText,
    HistoryAnswer,
    Named,
)
from gateway.dialects.surface import Surface, route_class
from gateway.dialects.unsaid import OR_DEFAULT
from gateway.identity import Caller
from gateway.orders import Order
from gateway.records import Generation
from gateway.refusals import NotFound, Unavailable
from gateway.settings import SocialSettings

User = Annotated[Named, Query(alias="userId", description="The token's user; a service has to name one.")]
PREFIXES = ("/api/social", "/api/ai")
"""The frontend's, and the seed's own."""


def make_router(surface: Surface, settings: SocialSettings) -> APIRouter:
    """Pictures and texts for the social frontend."""
    return together(*(_images(surface, settings, prefix) for prefix in PREFIXES), _texts(surface, settings))


def _images(surface: Surface, settings: SocialSettings, prefix: str) -> APIRouter:
    router = APIRouter(prefix=prefix, tags=["social"], route_class=route_class(errors.render))

    @router.post(
        "/generate-image",
        summary="Make images and wait for them",
        response_model=GeneratedImagesAnswer,
        responses=_refused(400, 402, 403, 404, 413, 429, 502, 503, 504),
    )
    async def generate_image(body: GenerateImage, request: Request) -> Response:
        """Held open until the images are stored. The style enhances the prompt; the record keeps the user's own."""
        who = await caller(surface.identity, request, body.userId)
        models = [model for model, _ in surface.queries.models(Kind.IMAGE)]
        order = translate.images_order(body, request, models, settings.max_images_per_generation)
        made = await _made(surface, settings, who, order)
        images = translate.images(surface, made, await _balance(surface, who))
        return _json(GeneratedImagesAnswer(data=images))

    @router.get(
        "/generated-images",
        summary="Your images",
        response_model=HistoryAnswer,
        responses=_refused(400, 503),
    )
    async def generated_images(
        request: Request,
        page: Annotated[int, Query(ge=1, le=MAX_PAGE), OR_DEFAULT] = 1,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE_LIMIT), OR_DEFAULT] = DEFAULT_PAGE_LIMIT,
        user_id: User = None,
    ) -> Response:
        """The newest first, a page at a time."""
        found = await _page(surface, await caller(surface.identity, request, user_id), page, limit)
        return _json(HistoryAnswer(data=translate.history(surface, found, page, limit)))

    @router.post(
        "/download-image/{id}",
        summary="A link to download an image",
        response_model=DownloadAnswer,
        responses=_refused(404, 503),
    )
    async def download_image(id: str, request: Request, user_id: User = None) -> Response:  # noqa: A002
        """The download is logged; it costs nothing."""
        picture = await _downloaded(surface, await caller(surface.identity, request, user_id), id)
        return _json(DownloadAnswer(data=translate.download(surface, picture)))

    return router


def _texts(surface: Surface, settings: SocialSettings) -> APIRouter:
    router = APIRouter(prefix=PREFIXES[0], tags=["social"], route_class=route_class(errors.render))

    @router.post(
        "/generate-text",
        summary="Write a post and wait for it",
        response_model=GeneratedTextAnswer,
        responses=_refused(400, 402, 403, 404, 413, 429, 502, 503, 504),
    )
    async def generate_text(body: GenerateText, request: Request) -> Response:
        """Held open until the text is written: about the prompt, or the prompt in other words."""
        who = await caller(surface.identity, request, body.userId)
        made = await _made(surface, settings, who, translate.text_order(body, request))
        return _json(GeneratedTextAnswer(data=translate.words(made, await _balance(surface, who))))

    return router


async def _made(surface: Surface, settings: SocialSettings, who: Caller, order: Order) -> Generation:
    await admit(surface, settings, who, order)
    generation = await surface.commands.create_and_wait(surface.verdicts, who, order)
    delivered(generation)  # the ledger is asked for the balance only where there is something to show
    return generation


async def _balance(surface: Surface, who: Caller) -> Balance | None:
    """None while the ledger does not answer: what was made and paid for is shown all the same."""
    try:
        return await surface.queries.balance(who)
    except Unavailable:
        return None


async def _page(surface: Surface, who: Caller, number: int, limit: int) -> Page:
    async with surface.database.statement() as connection:
        return await pictures.page(connection, who.user_id, number, limit)


async def _downloaded(surface: Surface, who: Caller, image_id: str) -> Picture:
    async with surface.database.statement() as connection:
        picture = await pictures.download(connection, who.user_id, translate.image_id(image_id))
    if picture is None:
        raise NotFound("There is no such image.")
    return picture


def _json(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")


def _refused(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorBody} for status in (401, *statuses)}
