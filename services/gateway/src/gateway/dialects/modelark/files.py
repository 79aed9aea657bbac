"""Stored files by their names, as the modelark frontend asks for them and deletes them."""

import contextlib
from typing import Any

from fastapi import APIRouter, Request

from gateway.dialects.callers import caller
from gateway.dialects.modelark import errors
from gateway.dialects.modelark.schemas import ErrorBody, StoredFile
from gateway.dialects.modelark.translate import DIALECT
from gateway.dialects.surface import Surface, route_class
from gateway.refusals import NotFound

_ERRORS: dict[int | str, dict[str, Any]] = {status: {"model": ErrorBody} for status in (401, 404, 503)}


def make_router(surface: Surface) -> APIRouter:
    """Stored files for the modelark frontend."""
    router = APIRouter(prefix="/api/images/storage", tags=["modelark"], route_class=route_class(errors.render))

    @router.get("/{fileName:path}", summary="The address of a stored file", responses=_ERRORS)
    async def show(fileName: str, request: Request, userId: str | None = None) -> StoredFile:  # noqa: N803
        """A file's name is the last part of its address, its token, or its id, with or without an extension."""
        who = await caller(surface.identity, request, userId)
        generation, asset = await surface.queries.file(who, DIALECT, fileName)
        return StoredFile(url=surface.address(asset.key, visibility=generation.visibility))

    @router.delete("/{fileName:path}", status_code=204, summary="Delete a stored file", responses=_ERRORS)
    async def delete(fileName: str, request: Request, userId: str | None = None) -> None:  # noqa: N803
        """Its prompt and its record go with it; deleting it again changes nothing."""
        who = await caller(surface.identity, request, userId)
        generation, _ = await surface.queries.file(who, DIALECT, fileName, also_deleted=True)
        with contextlib.suppress(NotFound):  # it is deleted already
            await surface.commands.delete(who, generation.id)

    return router
