"""The route of /v1 that says who may look."""

from fastapi import APIRouter, Request, Response

from gateway.dialects.native import errors, translate
from gateway.dialects.native.answers import json_answer, problems
from gateway.dialects.native.schemas import ChangedGeneration, GenerationView
from gateway.dialects.surface import Surface, route_class
from gateway.visibility import change, check_offered


def make_router(surface: Surface) -> APIRouter:
    """Showing a generation, and hiding it."""
    router = APIRouter(prefix="/v1", route_class=route_class(errors.render), tags=["Generations"])

    @router.patch(
        "/generations/{id}",
        summary="Say who may look",
        response_model=GenerationView,
        responses=problems(404, 409, 501, has_body=True),
    )
    async def edit(id: str, body: ChangedGeneration, request: Request) -> Response:  # noqa: A002
        """What was public before may be in somebody's cache."""
        caller, wanted = await surface.identity.required(request), translate.generation_id(id)
        check_offered(surface.addresses, body.visibility)
        changed = await change(surface.database, surface.broker, caller, wanted, body.visibility)
        return json_answer(translate.view(surface, changed))

    return router
