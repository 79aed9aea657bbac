"""Between PostgREST's headers and the tables."""

from fastapi import Request, Response

from gateway.dialects.preferences import preferences
from gateway.dialects.supabase.catalog import Catalog, Relation
from gateway.dialects.supabase.errors import not_one
from gateway.dialects.supabase.query import Query
from gateway.dialects.supabase.tables import Rows

PUBLIC = "public"
"""What Supabase's client calls the schema of whoever named none."""
OBJECT = "application/vnd.pgrst.object+json"


async def relation_of(catalog: Catalog, request: Request, name: str, default: str) -> Relation:
    """The table that a request means: of the schema that it names, else of the dialect whose port it came in by, else
    of the default. Raises RestError."""
    header = "accept-profile" if request.method == "GET" else "content-profile"
    asked = request.headers.get(header, PUBLIC)
    if asked == PUBLIC:
        asked = request.scope.get("state", {}).get("dialect", default)
    return await catalog.relation(asked, name)


def wants_one(request: Request) -> bool:
    return OBJECT in request.headers.get("accept", "")


def is_counted(request: Request) -> bool:
    return "count" in preferences(request)


def read_answer(request: Request, query: Query, rows: Rows) -> Response:
    """Raises RestError: one object was asked for, and there is none, or more."""
    first, last = query.offset, query.offset + rows.rows - 1
    total = "*" if rows.total is None else str(rows.total)
    headers = {"Content-Range": f"{first}-{last}/{total}" if rows.rows else f"*/{total}"}
    if is_counted(request):
        headers["Preference-Applied"] = "count=exact"
    is_part = rows.total is not None and rows.rows < rows.total
    return _answer(request, rows, 206 if is_part else 200, headers)


def deleted_answer(request: Request, rows: Rows) -> Response:
    if preferences(request).get("return") != "representation":
        return Response(status_code=204, headers={"Content-Range": "*/*"})
    return _answer(request, rows, 200, {"Content-Range": "*/*", "Preference-Applied": "return=representation"})


def _answer(request: Request, rows: Rows, status: int, headers: dict[str, str]) -> Response:
    if not wants_one(request):
        return Response(rows.body, status, headers, media_type="application/json; charset=utf-8")
    if rows.rows != 1:
        raise not_one(rows.rows)
    # An array of one object: what stands between its brackets.
    return Response(rows.body[1:-1], status, headers, media_type=f"{OBJECT}; charset=utf-8")
