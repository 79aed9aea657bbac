"""The routes of /openai/v1: its models here, and what is made, each in a file of its own."""

from fastapi import APIRouter, Request, Response

from gateway.beginnings import together
from gateway.dialects.openai import chats, errors, images, moderations, speech, translate, videos
from gateway.dialects.openai.answers import ERRORS, json_answer
from gateway.dialects.openai.heading import BASE
from gateway.dialects.openai.schemas import Model, ModelList
from gateway.dialects.surface import Surface, route_class
from gateway.lending import Lending
from gateway.refusals import UnknownModel

FORMS = (f"{BASE}{videos.PATH}", f"{BASE}{images.EDIT}")
"""Where files are sent."""


def make_router(surface: Surface) -> APIRouter:
    """OpenAI's API over the given commands and queries."""
    lending = Lending(surface.broker)
    return together(
        _models(surface),
        images.make_router(surface, lending),
        chats.make_router(surface),
        speech.make_router(surface, lending),
        moderations.make_router(surface),
        videos.make_router(surface, lending),
    )


def _models(surface: Surface) -> APIRouter:
    router = APIRouter(prefix=BASE, tags=["openai"], route_class=route_class(errors.render), responses=ERRORS)

    @router.get("/models", summary="What can be asked for", response_model=ModelList)
    async def models(request: Request) -> Response:
        await surface.identity.required(request)
        return json_answer(ModelList(data=[translate.model_view(model) for model, _ in surface.queries.models()]))

    @router.get("/models/{model:path}", summary="One model", response_model=Model)
    async def model(model: str, request: Request) -> Response:
        await surface.identity.required(request)
        found = [each for each, _ in surface.queries.models() if each.id == model]
        if not found:
            raise UnknownModel(f"The model {model[:40]!r} does not exist.")
        return json_answer(translate.model_view(found[0]))

    return router
