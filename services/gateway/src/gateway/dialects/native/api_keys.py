"""The routes of /v1/api-keys."""

from fastapi import APIRouter, Request, Response

from contracts.money import UNITS_PER_CREDIT, in_credits
from gateway.api_keys.keys import Bounds
from gateway.dialects.native import errors
from gateway.dialects.native.answers import Key, json_answer, problems
from gateway.dialects.native.api_key_schemas import ApiKeyList, ApiKeyView, NewApiKey, Rotation
from gateway.dialects.native.translate import generation_id
from gateway.dialects.surface import Surface, route_class
from runtime.database import Row


def make_router(surface: Surface) -> APIRouter:
    """Keys of programs. A key itself reaches these routes with the scope `account` alone."""
    router = APIRouter(prefix="/v1/api-keys", route_class=route_class(errors.render), tags=["API keys"])
    keys, identity = surface.api_keys, surface.identity

    @router.post("", status_code=201, response_model=ApiKeyView, responses=problems(409, has_body=True))
    async def make_api_key(body: NewApiKey, request: Request, idempotency_key: Key = None) -> Response:
        """Send it as `Authorization: Bearer dk_…`, in every dialect. It is shown once: 409 under the same key."""
        made = await keys.make(await identity.required(request), body.name, _bounds(body), idempotency_key)
        return json_answer(_view(made.row, made.key), 201)

    @router.get("", response_model=ApiKeyList, responses=problems())
    async def list_api_keys(request: Request) -> Response:
        """Which you have made, by their prefixes, and when each was last used."""
        return json_answer(ApiKeyList(items=[_view(row) for row in await keys.all(await identity.required(request))]))

    @router.post("/{id}/rotate", response_model=ApiKeyView, responses=problems(404, 409, has_body=True))
    async def rotate_api_key(
        id: str,  # noqa: A002
        request: Request,
        body: Rotation | None = None,
        idempotency_key: Key = None,
    ) -> Response:
        """A new key with the same bounds; for a day, or as long as you say, the former one works as well. It is shown
        once: 409 under the same key, which changes nothing."""
        caller, overlap_seconds = await identity.required(request), (body or Rotation()).overlap_seconds
        made = await keys.rotate(caller, generation_id(id), overlap_seconds, idempotency_key)
        return json_answer(_view(made.row, made.key))

    @router.delete("/{id}", status_code=204, responses=problems(404))
    async def revoke_api_key(id: str, request: Request) -> Response:  # noqa: A002
        """It is refused everywhere within 10 seconds."""
        await keys.revoke(await identity.required(request), generation_id(id))
        return Response(status_code=204)

    return router


def _bounds(body: NewApiKey) -> Bounds:
    return Bounds(
        scopes=body.scopes,
        requests_per_minute=body.requests_per_minute,
        units_per_day=body.credits_per_day and body.credits_per_day * UNITS_PER_CREDIT,
        units_per_month=body.credits_per_month and body.credits_per_month * UNITS_PER_CREDIT,
        expires_at=body.expires_at,
    )


def _view(row: Row, key: str | None = None) -> ApiKeyView:
    return ApiKeyView(
        id=row.id,
        name=row.name,
        prefix=row.prefix,
        key=key,
        scopes=row.scopes,
        requests_per_minute=row.requests_per_minute,
        credits_per_day=None if row.units_per_day is None else in_credits(row.units_per_day),
        credits_per_month=None if row.units_per_month is None else in_credits(row.units_per_month),
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        created_at=row.created_at,
        previous_works_until=row.previous_until,
    )
