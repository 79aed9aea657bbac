"""The routes of GoTrue that supabase-js needs."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import SecretStr

from gateway.dialects.callers import uuid_of
from gateway.dialects.supabase.auth_errors import NotAdmin, UserGone, render
from gateway.dialects.supabase.auth_schemas import AdminUser, ErrorBody, Grant, SessionView, SignUp, UserView
from gateway.dialects.supabase.auth_translate import session_view, settings_view, user_view
from gateway.dialects.surface import Surface, route_class
from gateway.identity import Caller
from gateway.refusals import Invalid, NotFound
from gateway.tokens import Issuer
from gateway.users import User

Scope = Literal["global", "local", "others"]


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorBody} for status in (401, *statuses, 503)}


def make_router(surface: Surface) -> APIRouter:
    """Signing up, in and out."""
    router = APIRouter(prefix="/auth/v1", tags=["Supabase Auth"], route_class=route_class(render))
    users, tokens, identity = surface.users, surface.tokens, surface.identity

    @router.post("/signup", response_model=SessionView | UserView, responses=_errors(400, 422, 429, 501))
    async def sign_up(body: SignUp, request: Request) -> Response:
        """A session; where addresses have to be confirmed first, the user alone."""
        user = await users.sign_up(body.email, body.password, body.data or {}, identity.proxies.address(request))
        return _json(user_view(user)) if users.confirms_emails else _json(await _begun(surface, user))

    @router.post("/token", response_model=SessionView, responses=_errors(400, 429, 501))
    async def sign_in(body: Grant, request: Request, grant_type: Annotated[str, Query()]) -> Response:
        """A session for e-mail and password, or the next one for a refresh token, which is spent."""
        if grant_type == "refresh_token":
            return _json(await _refreshed(surface, body.refresh_token or ""))
        if grant_type != "password":
            raise Invalid("unsupported_grant_type")
        address = identity.proxies.address(request)
        user = await users.sign_in(body.email or "", body.password or SecretStr(""), address)
        return _json(await _begun(surface, user))

    @router.post("/logout", status_code=204, responses=_errors(422))
    async def sign_out(request: Request, scope: Scope = "global") -> Response:
        """Ends the user's sessions: all, the token's own, or the others. Access tokens live on until they expire."""
        caller = await identity.required(request)
        only = caller.session_id if scope == "local" else None
        but = caller.session_id if scope == "others" else None
        if scope == "global" or caller.session_id is not None:
            await tokens.end(Issuer.GOTRUE, caller.user_id, only=only, but=but)
        return Response(status_code=204)

    @router.get("/user", response_model=UserView, responses=_errors(403))
    async def get_user(request: Request) -> Response:
        """The token's user, while the token's session goes on."""
        return _json(user_view(await _signed_in(surface, await identity.required(request))))

    @router.put("/admin/users/{id}", response_model=UserView, responses=_errors(400, 403, 404, 501))
    async def confirm_user(id: str, body: AdminUser, request: Request) -> Response:  # noqa: A002
        """With a service's key: the address is the user's own, and names him at other issuers as well."""
        caller = await identity.caller(request)
        if caller is None or not caller.is_service:
            raise NotAdmin("User not allowed")
        user_id = uuid_of(id)
        if user_id is None:
            raise NotFound("User not found")
        return _json(user_view(await users.verify(user_id)))

    @router.get("/authorize", status_code=302, response_class=RedirectResponse, responses=_errors(400, 501))
    async def authorize(request: Request, provider: str = "", redirect_to: str | None = None) -> Response:
        """On to the provider's page at the hosted Supabase."""
        return RedirectResponse(surface.oauth.url(provider, redirect_to, request.query_params), 302)

    @router.get("/settings", responses=_errors())
    async def get_settings() -> dict[str, Any]:
        """What is offered here."""
        return settings_view(surface)

    @router.get("/health", responses=_errors())
    async def get_health() -> dict[str, str]:
        """That it is there."""
        return {"name": "GoTrue", "description": "Darkroom's part of it", "version": "v2.0.0"}

    @router.get("/.well-known/jwks.json", responses=_errors())
    async def get_keys() -> dict[str, list[Any]]:
        """None is public: tokens are signed with a secret (HS256), as by a Supabase with a JWT secret."""
        return {"keys": []}

    return router


async def _begun(surface: Surface, user: User) -> SessionView:
    return session_view(surface, user, await surface.tokens.begin(Issuer.GOTRUE, user.id))


async def _refreshed(surface: Surface, refresh_token: str) -> SessionView:
    session = await surface.tokens.rotate(Issuer.GOTRUE, refresh_token)
    user = await surface.users.find(session.user_id)
    if user is None:
        raise UserGone("User from sub claim in JWT does not exist")
    return session_view(surface, user, session)


async def _signed_in(surface: Surface, caller: Caller) -> User:
    if caller.session_id is not None and not await surface.tokens.goes_on(caller.session_id):
        raise UserGone("Session from session_id claim in JWT does not exist")
    user = await surface.users.find(caller.user_id)
    if user is None:
        raise UserGone("User from sub claim in JWT does not exist")
    return user


def _json(body: SessionView | UserView) -> Response:
    return Response(body.model_dump_json(), media_type="application/json", headers={"Cache-Control": "no-store"})
