"""The routes below /rest/v1 and /storage/v1."""

import contextlib
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from contracts.facts import Visibility
from contracts.media import address
from gateway.beginnings import together
from gateway.dialects.supabase import errors, query, storage, translate
from gateway.dialects.supabase.catalog import Relation
from gateway.dialects.supabase.readers import AUTHENTICATED, reader
from gateway.dialects.supabase.tables import Reader, Tables
from gateway.dialects.surface import Surface, route_class
from gateway.identity import Caller
from gateway.refusals import Unavailable

CREDITS = frozenset({"user_credits", "user_ai_credits"})
"""Tables of balances. The ledger is asked before one's own is read: it opens a new user's account, and counts what has
ended."""
_READ: dict[int | str, dict[str, Any]] = {
    200: {"description": "Rows, or one object", "content": {"application/json": {}}},
    206: {"description": "Some of the rows that were counted"},
    **{status: {"description": "Refused, in PostgREST's shape"} for status in (400, 401, 403, 404, 406)},
}
_DELETE: dict[int | str, dict[str, Any]] = {
    204: {"description": "Deleted"},
    409: {"description": "It is still at work"},
    **_READ,
}


def make_router(surface: Surface) -> APIRouter:
    """The frontends' tables, and public objects."""
    addresses = surface.addresses
    signing = addresses.media_signing_key is not None

    def sign(key: str, visibility: Visibility) -> str:
        return surface.address(key, visibility=visibility)

    tables = Tables(surface.database, addresses.media_base, sign if signing else None)
    default = addresses.default_dialect
    rest = APIRouter(prefix="/rest/v1", tags=["supabase"], route_class=route_class(errors.render))
    objects = APIRouter(prefix="/storage/v1", tags=["supabase"], route_class=route_class(storage.render))

    @rest.get("/{table}", summary="Read a table", responses=_READ)
    async def read(table: str, request: Request) -> Response:
        """`select` (with one embedded table), `order`, `limit`, `offset`, and `<column>=eq.<value>`."""
        relation = await translate.relation_of(tables.catalog, request, table, default)
        asked = query.parse(request.query_params.multi_items())
        who, asked = await reader(surface.identity, request, asked)
        await _ask_about_credits(surface, relation, who)
        rows = await tables.read(who, relation, asked, counted=translate.is_counted(request))
        return translate.read_answer(request, asked, rows)

    @rest.delete("/{table}", status_code=204, summary="Delete rows of a table", responses=_DELETE)
    async def delete(table: str, request: Request) -> Response:
        """Conditions are required; what is still being made stays."""
        relation = await translate.relation_of(tables.catalog, request, table, default)
        asked = query.parse(request.query_params.multi_items())
        who, asked = await reader(surface.identity, request, asked)
        rows = await tables.delete(who, relation, asked, one=translate.wants_one(request))
        return translate.deleted_answer(request, rows)

    @objects.get("/object/public/{bucket}/{path:path}", include_in_schema=False)
    async def public_object(bucket: str, path: str) -> Response:
        """Redirects to the media that `<token>.<extension>` or `<token>/<variant>.<extension>` names."""
        return RedirectResponse(address(addresses.media_base, storage.media_key(path)), 307)

    return together(rest, objects)


async def _ask_about_credits(surface: Surface, relation: Relation, who: Reader) -> None:
    if relation.name in CREDITS and who.role == AUTHENTICATED and who.user_id is not None:
        with contextlib.suppress(Unavailable):  # the table is there all the same
            await surface.queries.balance(Caller(who.user_id))
