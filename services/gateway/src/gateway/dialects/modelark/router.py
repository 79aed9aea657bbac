"""The routes of the modelark frontend."""

from typing import Any

from fastapi import APIRouter, Request, Response

from contracts.facts import Kind
from gateway.beginnings import together
from gateway.dialects.caching import Known, tagged
from gateway.dialects.callers import caller
from gateway.dialects.modelark import errors, files, translate, videos
from gateway.dialects.modelark.schemas import (
    ErrorBody,
    GeneratedImages,
    GenerateImage,
    ModelNames,
    TestImage,
    TestResult,
)
from gateway.dialects.surface import Surface, route_class
from gateway.identity import Caller
from gateway.orders import Order
from gateway.records import Generation

MODELS_SECONDS = 60
"""How long a browser need not ask again."""
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody} for status in (400, 401, 402, 404, 413, 422, 429, 502, 503, 504)
}
_TEST_ERRORS: dict[int | str, dict[str, Any]] = {status: {"model": TestResult} for status in (401, 402, 422, 502)}


def make_router(surface: Surface) -> APIRouter:
    """Pictures for the modelark frontend."""
    router = APIRouter(prefix="/api/images", tags=["modelark"], route_class=route_class(errors.render))
    testing = APIRouter(prefix="/api/images", tags=["modelark"], route_class=route_class(errors.render_test))

    @router.post(
        "/generate", summary="Make an image and wait for it", response_model=GeneratedImages, responses=_ERRORS
    )
    async def generate(body: GenerateImage, request: Request) -> Response:
        """Held open until the image is stored."""
        who = await caller(surface.identity, request, body.userId)
        made = translate.images(surface, await _made(surface, who, translate.order(body, request)))
        return Response(made.model_dump_json(), media_type="application/json")

    @testing.post("/test", summary="Make a test image", responses=_TEST_ERRORS)
    async def test(body: TestImage, request: Request) -> TestResult:
        """Makes and charges one real image with the default model; `data` is as ModelArk would answer."""
        who = await caller(surface.identity, request, body.userId)
        order = translate.order(GenerateImage(prompt=body.prompt), request)
        return TestResult(success=True, data=translate.provider_answer(surface, await _made(surface, who, order)))

    @router.get("/models", summary="The image models", response_model=ModelNames, responses=_ERRORS)
    async def models(request: Request, if_none_match: Known = None) -> Response:
        await caller(surface.identity, request)
        names = ModelNames(models=[model.id for model, _ in surface.queries.models(Kind.IMAGE)])
        return tagged(names, if_none_match, max_age_seconds=MODELS_SECONDS)

    return together(router, testing, files.make_router(surface), videos.make_router(surface))


async def _made(surface: Surface, who: Caller, order: Order) -> Generation:
    return await surface.commands.create_and_wait(surface.verdicts, who, order)
