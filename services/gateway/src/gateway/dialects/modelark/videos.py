"""The video routes of the modelark frontend: forms, held open until the video is stored."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from gateway.beginnings import together
from gateway.dialects.callers import caller
from gateway.dialects.modelark import errors, films
from gateway.dialects.modelark.schemas import ErrorBody, GeneratedVideo, TestResult, TestVideo, VideoFields
from gateway.dialects.surface import Surface, route_class
from gateway.forms import FieldsAndFile
from gateway.records import Generation
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
        fields, made = await _made(surface, request)
        return Response(films.video(surface, made, fields).model_dump_json(), media_type="application/json")

    @testing.post("/api/videos/test", summary="Make a test video", responses=_TEST_ERRORS)
    async def test(body: TestVideo, request: Request) -> TestResult:
        """Makes and charges the shortest video with the default model; `data` is as ModelArk would answer."""
        who = await caller(surface.identity, request, body.userId)
        order = films.order(surface, VideoFields(prompt=body.prompt, duration=str(films.SHORTEST)), request)
        made = await surface.commands.create_and_wait(surface.verdicts, who, order)
        return TestResult(success=True, data=films.provider_answer(surface, made))

    return together(router, testing)


async def _made(surface: Surface, request: Request) -> tuple[VideoFields, Generation]:
    """What was asked for, and what became of it. Nothing of a file is taken before it is known whose it is.

    Raises:
        Refusal: nothing is kept then, unless it goes on.
    """
    await surface.identity.caller(request)
    form = FieldsAndFile(request, surface.uploads.max_form_bytes, (START_IMAGE,))
    chunks = form.file()
    first = await anext(chunks, None)
    who = await caller(surface.identity, request, form.fields.get("userId"))
    async with surface.uploads.bringing(who, films.all_of(first, chunks)) as brought:
        if await caller(surface.identity, request, form.fields.get("userId")) != who:
            raise Invalid("userId has to come before the image.")
        try:
            fields = VideoFields.model_validate(form.fields)
        except ValidationError as error:
            raise RequestValidationError(error.errors()) from error
        order = films.order(surface, fields, request, starts=brought.is_there)
        if brought.is_there:
            image = await brought.keep(request.headers.get("idempotency-key"), GENERATE)
            order = films.starting(order, image)
        return fields, await surface.commands.create_and_wait(surface.verdicts, who, order)
