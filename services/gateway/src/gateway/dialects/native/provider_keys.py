"""The routes of /v1/provider-keys."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from contracts.questions import Keys
from gateway.dialects.native import errors
from gateway.dialects.native.answers import json_answer, problems
from gateway.dialects.native.schemas import NewProviderKey, ProviderKeys, ProviderKeyView
from gateway.dialects.surface import Surface, route_class

Provider = Annotated[str, Path(pattern="^[a-z0-9_-]{1,50}$", description="As in `GET /v1/models`.")]


def make_router(surface: Surface) -> APIRouter:
    """Keys of users' own at providers, which are used for their generations alone."""
    router = APIRouter(prefix="/v1/provider-keys", route_class=route_class(errors.render), tags=["Account"])
    keys, identity = surface.provider_keys, surface.identity

    @router.get("", response_model=ProviderKeys, responses=problems())
    async def list_provider_keys(request: Request) -> Response:
        """Which you have set; a key itself is never shown again."""
        return json_answer(_view(await keys.all(await identity.required(request))))

    @router.put("/{provider}", response_model=ProviderKeys, responses=problems(501, has_body=True))
    async def set_provider_key(provider: Provider, body: NewProviderKey, request: Request) -> Response:
        """Your generations at this provider are asked for with this key from now on."""
        caller = await identity.required(request)
        return json_answer(_view(await keys.set(caller, provider, body.key.get_secret_value())))

    @router.delete("/{provider}", response_model=ProviderKeys, responses=problems(422, 501))
    async def forget_provider_key(provider: Provider, request: Request) -> Response:
        """Forgets it; the deployment's own key is used again."""
        return json_answer(_view(await keys.set(await identity.required(request), provider, None)))

    return router


def _view(keys: Keys) -> ProviderKeys:
    return ProviderKeys(
        items=[ProviderKeyView(provider=key.provider, last4=key.last4, set_at=key.set_at) for key in keys.keys]
    )
