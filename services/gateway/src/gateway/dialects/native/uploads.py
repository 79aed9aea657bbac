"""The routes of /v1/uploads, and the links by which files leave again."""

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from contracts.facts import Asset
from contracts.questions import OfferedUpload
from gateway.dialects.native import errors
from gateway.dialects.native.router import json_answer, problems
from gateway.dialects.native.schemas import AssetView
from gateway.dialects.native.translate import asset_view, generation_id
from gateway.dialects.surface import Surface, route_class
from gateway.forms import file_of
from gateway.records import Generation
from gateway.refusals import NotFound

Key = Annotated[str | None, Header(alias="Idempotency-Key", description="The same key gives the same upload.")]
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


class UploadView(BaseModel):
    """A file that was taken."""

    id: UUID
    asset: AssetView


class NewUpload(BaseModel):
    """A file to be put into the bucket by the browser itself."""

    model_config = ConfigDict(extra="forbid")

    mime_type: str = Field(max_length=100, examples=["image/png"])
    size_bytes: int = Field(ge=1, strict=True)


class UploadForm(BaseModel):
    """Post `fields`, then the file as `file`, to `url`; then finalize."""

    id: UUID
    url: str
    fields: dict[str, str]
    expires_at: datetime


class NewLinks(BaseModel):
    """For whom a generation's files are to be opened, and for how long."""

    model_config = ConfigDict(extra="forbid")

    lifetime_seconds: int = Field(default=3600, ge=60, le=604_800, strict=True)
    download: bool = Field(default=False, description="Whether a browser is to keep them as files.")


class LinkView(BaseModel):
    asset_id: UUID
    url: str


class Links(BaseModel):
    """Addresses for others, which open without a token."""

    items: list[LinkView]
    expires_at: datetime | None = Field(description="Null where addresses are permanent here.")


def make_router(surface: Surface) -> APIRouter:
    """What users bring, and what they give to others."""
    router = APIRouter(prefix="/v1", route_class=route_class(errors.render))
    uploads, queries, identity = surface.uploads, surface.queries, surface.identity

    @router.post(
        "/uploads",
        status_code=201,
        summary="Bring a file",
        tags=["Uploads"],
        response_model=UploadView,
        responses=problems(400, 403, 413, 415, 422, 429),
        openapi_extra=_FORM,
    )
    async def upload(request: Request, idempotency_key: Key = None) -> Response:
        """A picture, a video or a sound, known by its content and made anew; anything else is refused."""
        caller = await identity.required(request)
        upload_id, asset = await uploads.take(caller, file_of(request, uploads.max_form_bytes), idempotency_key)
        return json_answer(_upload(surface, upload_id, asset), 201)

    @router.post(
        "/uploads/direct",
        status_code=201,
        summary="Ask where a browser may put a file by itself",
        tags=["Uploads"],
        response_model=UploadForm,
        responses=problems(400, 403, 404, 413, 415, 422),
    )
    async def offer(body: NewUpload, request: Request) -> Response:
        """Only where media is kept in a bucket; 404 elsewhere."""
        caller = await identity.required(request)
        return json_answer(_form(*await uploads.offer(caller, body.mime_type, body.size_bytes)), 201)

    @router.post(
        "/uploads/{id}/finalize",
        summary="Say that a file is in the bucket",
        tags=["Uploads"],
        response_model=UploadView,
        responses=problems(403, 404, 413, 415, 422),
    )
    async def finalize(id: str, request: Request) -> Response:  # noqa: A002
        """It is looked at then, as any other upload; asked again, the answer is the same."""
        caller = await identity.required(request)
        return json_answer(_upload(surface, *await uploads.finalize(caller, _upload_id(id))))

    @router.post(
        "/generations/{id}/links",
        summary="Share a generation",
        tags=["Generations"],
        response_model=Links,
        responses=problems(400, 404, 415, 422),
    )
    async def share(id: str, body: NewLinks, request: Request) -> Response:  # noqa: A002
        """Addresses to give to others, or to download by. Where addresses are signed, they end."""
        generation = await queries.generation(await identity.required(request), generation_id(id))
        return json_answer(_links(surface, generation, body))

    return router


def _upload_id(text: str) -> UUID:
    """An id that is none names nothing."""
    try:
        return UUID(text)
    except ValueError as error:
        raise NotFound("There is no such upload.") from error


def _upload(surface: Surface, upload_id: UUID, asset: Asset) -> UploadView:
    return UploadView(id=upload_id, asset=asset_view(surface, asset))


def _form(upload_id: UUID, offered: OfferedUpload) -> UploadForm:
    return UploadForm.model_validate({"id": upload_id, **offered.model_dump()})


def _links(surface: Surface, generation: Generation, wish: NewLinks) -> Links:
    found = generation.outcome.data.assets if generation.outcome else ()
    ends = surface.addresses.media_signing_key is not None
    return Links(
        items=[
            LinkView(asset_id=asset.id, url=surface.address(asset.key, wish.lifetime_seconds, download=wish.download))
            for asset in found
        ],
        expires_at=datetime.now(UTC) + timedelta(seconds=wish.lifetime_seconds) if ends else None,
    )
