"""OpenAI's pictures: made from words, or from other pictures that come in a form; whole, or as events."""

from collections.abc import AsyncIterator
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData, UploadFile
from starlette.requests import ClientDisconnect

from contracts.facts import Input, Kind
from gateway.dialects.brought import bring
from gateway.dialects.openai import errors, translate
from gateway.dialects.openai.answers import ERRORS, json_answer, streamed
from gateway.dialects.openai.bodies import is_json, json_of
from gateway.dialects.openai.drawing import drawn
from gateway.dialects.openai.heading import BASE
from gateway.dialects.openai.schemas import EditImages, EditReferences, GenerateImages, Pictures
from gateway.dialects.surface import Surface, route_class
from gateway.identity import Caller
from gateway.lending import Lending
from gateway.orders import MAX_INPUTS, Order
from gateway.refusals import Invalid, MalformedForm, UnsupportedMediaType
from gateway.uploads import CHUNK_BYTES

GENERATE, EDIT = "/images/generations", "/images/edits"
MAX_FIELDS = 32
MAX_FIELD_BYTES = 64 << 10
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
        body, inputs = await _taken(surface, who, request)
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


async def _taken(surface: Surface, who: Caller, request: Request) -> tuple[EditImages, list[Input]]:
    """The fields of the form, and its pictures as uploads of the caller's; or those of JSON, and their addresses.

    Raises:
        Refusal: nothing that was uploaded is used then.
    """
    if is_json(request):
        return await _referenced(surface, who, request)
    form = await _form(request)
    try:
        files = [(name, part) for name, part in form.multi_items() if isinstance(part, UploadFile)]
        pictures = [part for name, part in files if name in _IMAGES]
        masks = [part for name, part in files if name == _MASK]
        if not 1 <= len(pictures) <= MAX_INPUTS - len(masks) or len(masks) > 1:
            raise _invalid("image", f"1 to {MAX_INPUTS} pictures, and at most one mask")
        body = _validated(EditImages, {name: part for name, part in form.items() if isinstance(part, str)})
        given = [("image", part) for part in pictures] + [(_MASK, part) for part in masks]
        inputs = [await _upload(surface, who, request, index, *each) for index, each in enumerate(given)]
    finally:
        await form.close()
    if not body.model:
        body = body.model_copy(update={"model": _model(surface, {role for role, _ in given})})
    return body, inputs


async def _form(request: Request) -> FormData:
    """Raises UnsupportedMediaType, MalformedForm."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise UnsupportedMediaType("The body has to be a form: send it as 'multipart/form-data'.")
    try:
        return await request.form(max_files=MAX_INPUTS + 1, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES)
    except (FormParserError, ClientDisconnect) as error:
        raise MalformedForm("The body is not a valid form.") from error


async def _referenced(surface: Surface, who: Caller, request: Request) -> tuple[EditImages, list[Input]]:
    """Raises Refusal, RequestValidationError."""
    body = _validated(EditReferences, await json_of(request))
    given = {"images": [picture.image_url for picture in body.images], _MASK: body.mask and body.mask.image_url}
    found = await bring(surface, who, given, request.url.path, request.headers.get("idempotency-key"))
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


async def _upload(surface: Surface, who: Caller, request: Request, index: int, role: Any, part: UploadFile) -> Input:
    """Under the request's key the same picture of the form is the same upload."""
    key = request.headers.get("idempotency-key")
    upload = await surface.uploads.take(who, _chunks(part), key, f"{request.url.path} {index}", by_content=True)
    return Input(role=role, asset_id=upload.asset.id)


async def _chunks(part: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await part.read(CHUNK_BYTES):
        yield chunk


def _model(surface: Surface, roles: set[str]) -> str | None:
    """The first that can start from all of these; where none can, it is said of the first of all."""
    return next((model.id for model, _ in surface.queries.models(Kind.IMAGE) if roles <= {*model.inputs}), None)


def _invalid(field: str, message: str) -> Invalid:
    return Invalid(f"{field}: {message}", details={"errors": [{"field": field, "message": message}]})
