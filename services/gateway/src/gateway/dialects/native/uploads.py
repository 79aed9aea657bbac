"""The routes of /v1/uploads."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from contracts.facts import Visibility
from gateway.dialects.native import errors, translate
from gateway.dialects.native.answers import Key, json_answer, problems
from gateway.dialects.native.schemas import NewUpload, UploadForm, UploadView
from gateway.dialects.surface import Surface, route_class
from gateway.forms import file_of

Shown = Annotated[
    Visibility | None,
    Query(description="As of a generation; what is not said is as the deployment has it. The first time counts."),
]
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}


def make_router(surface: Surface) -> APIRouter:
    """Files that users bring."""
    router = APIRouter(prefix="/v1", route_class=route_class(errors.render))
    identity = surface.identity

    @router.post(
        "/uploads",
        status_code=201,
        summary="Bring a file",
        tags=["Uploads"],
        response_model=UploadView,
        responses=problems(400, 413, 415, 422, 501),
        openapi_extra=_FORM,
    )
    async def upload(request: Request, visibility: Shown = None, idempotency_key: Key = None) -> Response:
        """A picture, a video or a sound, known by its content and made anew; anything else is refused."""
        caller, shown = await identity.required(request), translate.shown(surface, visibility)
        chunks = file_of(request, surface.uploads.max_form_bytes)
        upload = await surface.uploads.take(caller, chunks, idempotency_key, visibility=shown)
        return json_answer(translate.upload_view(surface, upload), 201)

    @router.post(
        "/uploads/direct",
        status_code=201,
        summary="Ask where a browser may put a file by itself",
        tags=["Uploads"],
        response_model=UploadForm,
        responses=problems(404, has_body=True),
    )
    async def offer(body: NewUpload, request: Request) -> Response:
        """Only where media is kept in a bucket; 404 elsewhere."""
        caller = await identity.required(request)
        return json_answer(
            translate.form_view(*await surface.uploads.offer(caller, body.mime_type, body.size_bytes)), 201
        )

    @router.post(
        "/uploads/{id}/finalize",
        summary="Say that a file is in the bucket",
        tags=["Uploads"],
        response_model=UploadView,
        responses=problems(400, 404, 413, 415, 422, 501),
    )
    async def finalize(id: str, request: Request, visibility: Shown = None) -> Response:  # noqa: A002
        """It is looked at then, as any other upload; asked again, the answer is the same."""
        caller, shown = await identity.required(request), translate.shown(surface, visibility)
        upload = await surface.uploads.finalize(caller, translate.upload_id(id), shown)
        return json_answer(translate.upload_view(surface, upload))

    @router.delete(
        "/uploads/{id}",
        status_code=204,
        summary="Delete an upload",
        tags=["Uploads"],
        responses=problems(404, 409),
    )
    async def delete(id: str, request: Request) -> Response:  # noqa: A002
        """It is not served any more, and takes no room. While something that is being made starts from it, 409."""
        caller = await identity.required(request)
        await surface.uploads.remove(caller, translate.upload_id(id))
        return Response(status_code=204)

    return router
