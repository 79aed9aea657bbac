"""OpenAI's pictures: made from words, or from other pictures that come in a form; whole, or as events."""

from collections.abc import AsyncIterator
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from contracts.facts import Input, Kind
from gateway.dialects.brought import bring
from gateway.dialects.openai import errors, translate
from gateway.dialects.openai.answers import ERRORS, json_answer, streamed
from gateway.dialects.openai.bodies import is_json, json_of
from gateway.dialects.openai.drawing import drawn
from gateway.dialects.openai.heading import BASE
from gateway.dialects.openai.schemas import EditImages, EditReferences, GenerateImages, Pictures
from gateway.dialects.surface import Surface, route_class
from gateway.forms import FieldsAndFiles, Part
from gateway.identity import Caller
from gateway.lending import Lending
from gateway.orders import MAX_INPUTS, Order
from gateway.refusals import Invalid, MalformedForm, UnsupportedMediaType
from gateway.uploads import Received, Upload

GENERATE, EDIT = "/images/generations", "/images/edits"
MAX_PARTS = MAX_INPUTS + 33
"""The pictures, the mask, and 32 fields."""
_IMAGES = ("image", "image[]")
_MASK = "mask"
Body = TypeVar("Body", bound=EditImages)
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["prompt", "image"],
                    "properties": {
                        **EditImages.model_json_schema()["properties"],
                        "image": {"type": "array", "items": {"type": "string", "format": "binary"}},
                        "mask": {"type": "string", "format": "binary"},
                    },
                }
            }
        },
    }
}


def make_router(surface: Surface, lending: Lending) -> APIRouter:
    """Pictures."""
    router = APIRouter(prefix=BASE, tags=["openai"], route_class=route_class(errors.render), responses=ERRORS)

    @router.post(GENERATE, summary="Make images and wait for them", response_model=Pictures)
    async def generate(body: GenerateImages, request: Request) -> Response:
        """Held open until they are stored; with `stream` each is an event."""
        who, order = await surface.identity.required(request), translate.images_order(body, request)
        return await _answer(surface, lending, who, order, body, "image_generation")

    @router.post(EDIT, summary="Make images from others", response_model=Pictures, openapi_extra=_FORM)
    async def edit(request: Request) -> Response:
        """The pictures of the form become uploads of yours, looked at as any other."""
        who = await surface.identity.required(request)
        async with surface.uploads.taking_back(who) as kept:
            body, inputs = await _taken(surface, who, request, kept)
            order = translate.images_order(body, request, inputs)
            return await _answer(surface, lending, who, order, body, "image_edit")

    return router


async def _answer(
    surface: Surface,
    lending: Lending,
    who: Caller,
    order: Order,
    body: GenerateImages | EditImages,
    name: str,
) -> Response:
    """Raises Refusal."""
    if body.stream:
        return await streamed(drawn(surface, lending, who, order, name))
    made = await surface.commands.create_and_wait(surface.verdicts, who, order)
    return json_answer(await translate.pictures(surface, lending, made, inline=translate.is_inline(body, made)))


async def _taken(surface: Surface, who: Caller, request: Request, kept: list[Upload]) -> tuple[EditImages, list[Input]]:
    """The fields of the form, and its pictures as uploads of the caller's; or those of JSON, and their addresses.

    Raises:
        Refusal: nothing that was uploaded is used then.
    """
    if is_json(request):
        return await _referenced(surface, who, request, kept)
    form = FieldsAndFiles(request, surface.uploads.max_form_bytes, (*_IMAGES, _MASK), MAX_INPUTS + 1, MAX_PARTS)
    pictures: list[Received] = []
    masks: list[Received] = []
    try:
        async for part, chunks in _files(form, request):
            (masks if part.name == _MASK else pictures).append(await surface.uploads.receive(who, chunks))
        if not 1 <= len(pictures) <= MAX_INPUTS - len(masks) or len(masks) > 1:
            raise _invalid("image", f"1 to {MAX_INPUTS} pictures, and at most one mask")
        body = _validated(EditImages, form.fields)
        given = [("image", file) for file in pictures] + [(_MASK, file) for file in masks]
        inputs = [await _upload(surface, who, request, kept, index, *each) for index, each in enumerate(given)]
    except BaseException:
        for file in pictures + masks:
            await surface.uploads.forget(file)
        raise
    if not body.model:
        body = body.model_copy(update={"model": _model(surface, {role for role, _ in given})})
    return body, inputs


async def _files(form: FieldsAndFiles, request: Request) -> AsyncIterator[tuple[Part, AsyncIterator[bytes]]]:
    """Raises UnsupportedMediaType, MalformedForm, Invalid."""
    is_form = request.headers.get("content-type", "").lower().startswith("multipart/form-data")
    try:
        async for each in form.files():
            yield each
    except UnsupportedMediaType as error:
        if not is_form:
            raise UnsupportedMediaType("The body has to be a form: send it as 'multipart/form-data'.") from error
        raise MalformedForm("The body is not a valid form.") from error


async def _referenced(
    surface: Surface, who: Caller, request: Request, kept: list[Upload]
) -> tuple[EditImages, list[Input]]:
    """Raises Refusal, RequestValidationError."""
    body = _validated(EditReferences, await json_of(request))
    given = {"images": [picture.image_url for picture in body.images], _MASK: body.mask and body.mask.image_url}
    found = await bring(surface, who, given, request.url.path, request.headers.get("idempotency-key"), kept)
    inputs = [Input(role="image", url=address) for address in found["images"]]
    inputs += [Input(role="mask", url=found[_MASK])] if found[_MASK] else []
    if not body.model:
        body = body.model_copy(update={"model": _model(surface, {given.role for given in inputs})})
    return body, inputs


def _validated(wanted: type[Body], fields: dict[str, Any]) -> Body:
    """Raises RequestValidationError."""
    try:
        return wanted.model_validate(fields)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error


async def _upload(
    surface: Surface, who: Caller, request: Request, kept: list[Upload], index: int, role: Any, file: Received
) -> Input:
    """Under the request's key the same picture of the form is the same upload."""
    key = request.headers.get("idempotency-key")
    kept.append(upload := await surface.uploads.keep(who, file, key, f"{request.url.path} {index}"))
    return Input(role=role, asset_id=upload.asset.id)


def _model(surface: Surface, roles: set[str]) -> str | None:
    """The first that can start from all of these; where none can, it is said of the first of all."""
    return next((model.id for model, _ in surface.queries.models(Kind.IMAGE) if roles <= {*model.inputs}), None)


def _invalid(field: str, message: str) -> Invalid:
    return Invalid(f"{field}: {message}", details={"errors": [{"field": field, "message": message}]})
