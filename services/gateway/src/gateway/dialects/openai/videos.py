"""OpenAI's videos: asked for, looked at, listed, downloaded and deleted."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from contracts.facts import Input, Kind
from gateway import records
from gateway.dialects.brought import bring, is_file
from gateway.dialects.endings import delivered
from gateway.dialects.openai import errors
from gateway.dialects.openai.answers import ERRORS, bytes_answer, json_answer
from gateway.dialects.openai.bodies import is_json, json_of
from gateway.dialects.openai.heading import BASE
from gateway.dialects.openai.schemas import CreateVideo, DeletedVideo, Video, VideoError, Videos
from gateway.dialects.openai.translate import DIALECT, address_of, id_in, remarks_of
from gateway.dialects.surface import Surface, route_class, traceparent_of
from gateway.forms import FieldsAndFile
from gateway.identity import Caller
from gateway.lending import Lending
from gateway.orders import Order
from gateway.pages import Filter, cursor_after
from gateway.records import Generation
from gateway.refusals import Invalid, NotFinished, NotFound, Refusal
from gateway.uploads import Upload

PATH = "/videos"
REFERENCE = "input_reference"
MAX_BYTES = 64 << 20
"""What passes through here; a larger one is read where it is served."""
MAX_PAGE = 100
_PREFIX = "video_"
_ROLES = ("first_frame", "image")
"""What a picture to start from may be to a model."""
_STATES: dict[str, Literal["queued", "in_progress", "completed"]] = {
    "pending": "queued",
    "processing": "in_progress",
    "completed": "completed",
}
_FIELDS = CreateVideo.model_json_schema()["properties"]
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["prompt"],
                    "properties": {**_FIELDS, REFERENCE: {"type": "string", "format": "binary"}},
                }
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["prompt"],
                    "properties": {
                        **_FIELDS,
                        REFERENCE: {"type": "object", "properties": {"image_url": {"type": "string"}}},
                    },
                }
            },
        },
    }
}


def make_router(surface: Surface, lending: Lending) -> APIRouter:
    """Videos, whatever dialect they were asked for in."""
    router = APIRouter(
        prefix=BASE + PATH,
        tags=["openai"],
        route_class=route_class(errors.renderer({"inputs": REFERENCE, "image_url": REFERENCE})),
        responses=ERRORS,
    )

    @router.post("", summary="Ask for a video", response_model=Video, openapi_extra=_BODY)
    async def create(request: Request) -> Response:
        """Answers at once; the video is `queued` then."""
        who = await surface.identity.required(request)
        async with surface.uploads.taking_back(who) as kept:
            return json_answer(_view(await _created(surface, who, request, kept)))

    @router.get("", summary="Your videos", response_model=Videos)
    async def listing(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 20,
        after: str | None = None,
        order: Literal["desc"] = "desc",
    ) -> Response:
        """The newest first, a page at a time; `after` is the last id of the page before."""
        return json_answer(await _page(surface, await surface.identity.required(request), limit, after))

    @router.get("/{video_id}", summary="Look at a video", response_model=Video)
    async def show(video_id: str, request: Request) -> Response:
        return json_answer(_view(await _video(surface, await surface.identity.required(request), video_id)))

    @router.get(
        "/{video_id}/content",
        summary="Download a video",
        response_model=None,
        responses={
            200: {"content": {"video/mp4": {}, "image/webp": {}}, "description": "The bytes."},
            307: {"description": "It is large: the bytes are where `Location` says."},
        },
    )
    async def content(video_id: str, request: Request, variant: Literal["video", "thumbnail"] = "video") -> Response:
        video = await _video(surface, await surface.identity.required(request), video_id)
        return await _content(surface, lending, video, None if variant == "video" else variant)

    @router.delete("/{video_id}", summary="Delete a video", response_model=DeletedVideo)
    async def delete(video_id: str, request: Request) -> Response:
        who = await surface.identity.required(request)
        video = await _video(surface, who, video_id)
        await surface.commands.delete(who, video.id)
        return json_answer(DeletedVideo(id=f"{_PREFIX}{video.id}"))

    return router


async def _created(surface: Surface, who: Caller, request: Request, kept: list[Upload]) -> Generation:
    """Of the fields of a form or of a JSON body; the picture of a form becomes an upload of the caller's.

    Raises Refusal: nothing is kept then.
    """
    if is_json(request):
        return await surface.commands.create(who, await _started(surface, who, request, await json_of(request), kept))
    form = FieldsAndFile(request, surface.uploads.max_form_bytes, (REFERENCE,))
    async with surface.uploads.bringing(who, form.file()) as brought:
        fields = _unfolded(form.fields)
        if not brought.is_there:
            return await surface.commands.create(who, await _started(surface, who, request, fields, kept))
        order = _order(surface, request, fields, is_brought=True)
        picture = await brought.keep(order.idempotency_key, request.url.path)
        [given] = order.inputs
        order = replace(order, inputs=(given.model_copy(update={"url": None, "asset_id": picture.id}),))
        return await surface.commands.create(who, order)


async def _started(
    surface: Surface, who: Caller, request: Request, fields: Mapping[str, Any], kept: list[Upload]
) -> Order:
    """Without a file: a picture that stands in the fields is kept once all else is as it has to be."""
    reference = fields.get(REFERENCE)
    stands = isinstance(reference, dict) and is_file(reference.get("image_url"))
    order = _order(surface, request, fields, is_brought=stands)
    if not stands:
        return order
    brought = await bring(surface, who, fields[REFERENCE], request.url.path, order.idempotency_key, kept)
    [given] = order.inputs
    return replace(order, inputs=(given.model_copy(update={"url": brought["image_url"]}),))


def _order(surface: Surface, request: Request, fields: Mapping[str, Any], *, is_brought: bool = False) -> Order:
    """Raises Invalid, RequestValidationError. A picture that `is_brought` is put into its place once it is kept."""
    reference = fields.get(REFERENCE)
    if isinstance(reference, dict) and "image_url" not in reference and "file_id" in reference:
        raise _invalid(f"{REFERENCE}.file_id", "files of OpenAI's are not offered here: send the file, or image_url")
    try:
        body = CreateVideo.model_validate(fields)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error
    url = body.input_reference.image_url if body.input_reference and not is_brought else None
    model, role = _model(surface, body.model or None, starts=is_brought or url is not None)
    return Order(
        dialect=DIALECT,
        route=request.url.path,
        kind=Kind.VIDEO,
        prompt=body.prompt,
        model=model,
        size=body.size or None,
        seconds=body.seconds,
        inputs=(Input.model_validate({"role": role, "url": url}),) if is_brought or url is not None else (),
        remarks=remarks_of(body.user),
        idempotency_key=request.headers.get("idempotency-key"),
        traceparent=traceparent_of(request),
    )


def _unfolded(fields: Mapping[str, str]) -> dict[str, Any]:
    """As JSON has them: the SDK for Node writes an object into a form as `input_reference[image_url]`."""
    named = {name: fields[part] for name in ("image_url", "file_id") if (part := f"{REFERENCE}[{name}]") in fields}
    return {**fields, REFERENCE: named} if named else dict(fields)


def _model(surface: Surface, name: str | None, *, starts: bool) -> tuple[str | None, str]:
    """The model, and what a picture to start from is to it. Where none is named, the first that can start from one."""
    for model, _ in surface.queries.models(Kind.VIDEO) if starts else ():
        role = next((role for role in _ROLES if role in model.inputs), None)
        if name == model.id or (name is None and role is not None):
            return model.id, role or _ROLES[0]
    return name, _ROLES[0]


async def _video(surface: Surface, who: Caller, name: str) -> Generation:
    """Raises NotFound."""
    generation = await surface.queries.generation(who, id_in(_PREFIX, name))
    if generation.kind is not Kind.VIDEO:
        raise NotFound("There is no such video.")
    return generation


async def _page(surface: Surface, who: Caller, limit: int, after: str | None) -> Videos:
    cursor = await _cursor(surface, who, after) if after is not None else None
    page = await surface.queries.generations(who, limit, cursor, Filter(kind=Kind.VIDEO.value))
    videos = [_view(each) for each in page.items]
    return Videos(
        data=videos,
        first_id=videos[0].id if videos else None,
        last_id=videos[-1].id if videos else None,
        has_more=page.cursor is not None,
    )


async def _cursor(surface: Surface, who: Caller, after: str) -> str:
    """Also after one that was deleted since: programs delete while they list. Raises NotFound."""
    async with surface.database.statement() as connection:
        found = await records.known(connection, who.user_id, id_in(_PREFIX, after))
    if found is None or found[0].kind is not Kind.VIDEO:
        raise NotFound("There is no such video.")
    return cursor_after(found[0])


async def _content(surface: Surface, lending: Lending, video: Generation, variant: str | None) -> Response:
    """Raises NotFinished, and Refusal as whatever it ended with."""
    if video.outcome is None:
        raise NotFinished("The video is not ready yet: look at its status.")
    [asset, *_] = delivered(video).assets
    if variant is None and asset.size_bytes > MAX_BYTES:
        return RedirectResponse(address_of(surface, video, asset))
    if variant is not None and variant not in asset.variants:
        raise NotFound(f"The video has no {variant}.")
    borrowed = await lending.borrow(video.user_id, asset.id, MAX_BYTES, variant)
    return bytes_answer(borrowed, borrowed.mime_type)


def _view(generation: Generation) -> Video:
    state = _STATES.get(generation.status, "failed")
    ended = generation.completed_at
    return Video(
        id=f"{_PREFIX}{generation.id}",
        model=generation.model,
        status=state,
        progress=100 if state == "completed" else 0,
        created_at=int(generation.created_at.timestamp()),
        completed_at=int(ended.timestamp()) if ended is not None and state == "completed" else None,
        error=_error(generation) if state == "failed" else None,
        prompt=generation.prompt,
        seconds=str(generation.particulars.get("seconds", "")),
        size=generation.size or "",
    )


def _invalid(field: str, message: str) -> Invalid:
    return Invalid(f"{field}: {message}", details={"errors": [{"field": field, "message": message}]})


def _error(generation: Generation) -> VideoError:
    """As a held-open route would say it."""
    try:
        delivered(generation)
    except Refusal as refusal:
        return VideoError(code=errors.error_of(refusal)["code"] or "", message=refusal.message)
    return VideoError(code=generation.status, message=f"The video was {generation.status}.")
