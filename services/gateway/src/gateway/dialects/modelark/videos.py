"""The video routes of the modelark frontend: forms, held open until the video is stored."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from contracts.facts import Asset
from gateway.beginnings import together
from gateway.dialects.callers import caller
from gateway.dialects.modelark import errors, films
from gateway.dialects.modelark.schemas import ErrorBody, GeneratedVideo, TestResult, TestVideo, VideoFields
from gateway.dialects.surface import Surface, route_class
from gateway.forms import FieldsAndFile
from gateway.identity import Caller
from gateway.refusals import Invalid

GENERATE = "/api/videos/generate"
START_IMAGE = "image"
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody} for status in (400, 401, 402, 404, 413, 415, 422, 429, 502, 503, 504)
}
_TEST_ERRORS: dict[int | str, dict[str, Any]] = {status: {"model": TestResult} for status in (401, 402, 422, 502)}
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["prompt"],
                    "properties": {
                        "prompt": {"type": "string"},
                        "model": {"type": "string"},
                        "duration": {"type": "string", "description": "whole seconds, 2 to 10", "default": "5"},
                        "aspectRatio": {"type": "string", "enum": list(films.SIZES), "default": "16:9"},
                        "userId": {"type": "string", "format": "uuid"},
                        "image": {"type": "string", "format": "binary", "description": "what the video starts with"},
                    },
                }
            }
        },
    }
}


def make_router(surface: Surface) -> APIRouter:
    """Videos for the modelark frontend."""
    router = APIRouter(tags=["modelark"], route_class=route_class(errors.render))
    testing = APIRouter(tags=["modelark"], route_class=route_class(errors.render_test))

    @router.post(
        GENERATE,
        summary="Make a video and wait for it",
        response_model=GeneratedVideo,
        responses=_ERRORS,
        openapi_extra=_FORM,
    )
    async def generate(request: Request) -> Response:
        """Held open until the video is stored. A start image is an upload of the user's, looked at as any other."""
        who, fields, start = await _taken(surface, request)
        order = films.order(surface, fields, request, start)
        made = await surface.commands.create_and_wait(surface.verdicts, who, order)
        return Response(films.video(surface, made, fields).model_dump_json(), media_type="application/json")

    @testing.post("/api/videos/test", summary="Make a test video", responses=_TEST_ERRORS)
    async def test(body: TestVideo, request: Request) -> TestResult:
        """Makes and charges the shortest video with the default model; `data` is as ModelArk would answer."""
        who = await caller(surface.identity, request, body.userId)
        order = films.order(surface, VideoFields(prompt=body.prompt, duration=str(films.SHORTEST)), request, None)
        made = await surface.commands.create_and_wait(surface.verdicts, who, order)
        return TestResult(success=True, data=films.provider_answer(surface, made))

    return together(router, testing)


async def _taken(surface: Surface, request: Request) -> tuple[Caller, VideoFields, Asset | None]:
    """Who asks, for what, and the start image. Nothing of a file is taken before it is known whose it is.

    Raises:
        Refusal: nothing is kept then.
    """
    await surface.identity.caller(request)
    form = FieldsAndFile(request, surface.uploads.max_form_bytes, (START_IMAGE,))
    chunks = form.file()
    first = await anext(chunks, None)
    who = await caller(surface.identity, request, form.fields.get("userId"))
    start = None
    if first is not None:
        key = request.headers.get("idempotency-key")
        file = films.all_of(first, chunks)
        start = (await surface.uploads.take(who, file, key, GENERATE, by_content=True)).asset
        if await caller(surface.identity, request, form.fields.get("userId")) != who:
            raise Invalid("userId has to come before the image.")
    try:
        return who, VideoFields.model_validate(form.fields), start
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error
