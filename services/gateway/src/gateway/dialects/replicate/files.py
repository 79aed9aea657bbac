"""Files of Replicate's: uploads of ours, whose address predictions start from."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response

from gateway.dialects.replicate import errors
from gateway.dialects.replicate.models import PREFIX
from gateway.dialects.replicate.schemas import FileUrls, PredictionFile
from gateway.dialects.surface import Surface, route_class
from gateway.forms import FieldsAndFile
from gateway.orders import unfit
from gateway.refusals import Invalid

PATH = "/files"
ROUTE = f"{PREFIX}{PATH}"
CONTENT, METADATA = "content", "metadata"
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [CONTENT],
                    "properties": {
                        CONTENT: {"type": "string", "format": "binary"},
                        METADATA: {"type": "string", "description": "An object, which is given back."},
                    },
                }
            }
        },
    }
}


def make_router(surface: Surface, refused: dict[int | str, dict[str, Any]]) -> APIRouter:
    """The one route that the official clients need for files of an input."""
    router = APIRouter(prefix=PREFIX, route_class=route_class(errors.render), tags=["replicate"])

    @router.post(
        PATH,
        status_code=201,
        summary="Bring a file for a prediction",
        response_model=PredictionFile,
        responses=refused,
        openapi_extra=_FORM,
    )
    async def bring(request: Request) -> Response:
        """A picture, a video or a sound, known by its content and made anew; anything else is refused."""
        who, form = (
            await surface.identity.required(request),
            FieldsAndFile(request, surface.uploads.max_form_bytes, (CONTENT,)),
        )
        upload = await surface.uploads.take(who, _checked(form), request.headers.get("idempotency-key"), ROUTE)
        asset = upload.asset
        file = PredictionFile(
            id=str(upload.id),
            name=asset.key.rpartition("/")[2],
            content_type=asset.mime_type,
            size=asset.size_bytes,
            etag=asset.sha256,
            checksums={"sha256": asset.sha256},
            metadata=_metadata(form.fields.get(METADATA, "")),
            created_at=datetime.now(UTC),
            urls=FileUrls(get=surface.address(asset.key, visibility=upload.visibility)),
        )
        return Response(file.model_dump_json(), 201, media_type="application/json")

    return router


async def _checked(form: FieldsAndFile) -> AsyncIterator[bytes]:
    """The file. What is said of it is looked at where it ends, so that nothing is kept if that is refused."""
    async for chunk in form.file():
        yield chunk
    _metadata(form.fields.get(METADATA, ""))


def _metadata(text: str) -> dict[str, Any]:
    """What is no object is none: nothing depends on it. Raises Invalid for one that cannot be given back."""
    try:
        found = json.loads(text)
    except RecursionError:
        raise Invalid(f"{METADATA}: too many levels") from None
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    if (problem := unfit(found)) is not None:
        raise Invalid(f"{METADATA}: {problem}")
    return found
