"""The routes of /api/auth, /api/profile and the OAuth helper."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from gateway.dialects.accounts import errors, translate
from gateway.dialects.accounts.schemas import (
    ErrorBody,
    Profile,
    Redirect,
    Refresh,
    Refreshed,
    Register,
    Registered,
    SignedIn,
    SignIn,
)
from gateway.dialects.callers import caller
from gateway.dialects.surface import Surface, route_class
from gateway.refusals import Unauthenticated
from gateway.tokens import Issuer
from gateway.users import User


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorBody} for status in (401, *statuses, 501, 503)}


def make_router(surface: Surface) -> APIRouter:
    """Signing up and in, refreshing, and who one is."""
    router = APIRouter(tags=["Accounts"], route_class=route_class(errors.render))
    users, identity = surface.users, surface.identity

    @router.post("/api/auth/register", status_code=201, response_model=Registered, responses=_errors(409, 422, 429))
    async def register(body: Register, request: Request) -> Response:
        """A new user, signed in at once unless addresses have to be confirmed."""
        address = identity.proxies.address(request)
        user = await users.sign_up(body.email, body.password, translate.profile_of(body), address)
        made = None if users.confirms_emails else await _signed_in(surface, user)
        return _json(translate.registered(made, user), 201)

    @router.post("/api/auth/login", response_model=SignedIn, responses=_errors(422, 429))
    async def login(body: SignIn, request: Request) -> Response:
        """Tokens for e-mail and password."""
        user = await users.sign_in(body.email, body.password, identity.proxies.address(request))
        return _json(await _signed_in(surface, user))

    @router.post("/api/auth/refresh-token", response_model=Refreshed, responses=_errors(422))
    async def refresh_token(body: Refresh) -> Response:
        """The next two tokens; the refresh token is spent. 401: sign in again."""
        session = await surface.tokens.rotate(Issuer.SOCIAL, body.refreshToken)
        user = await users.find(session.user_id)
        if user is None:
            raise Unauthenticated("There is no such user any more.")
        return _json(translate.refreshed(surface, user, session))

    @router.get("/api/profile", response_model=Profile, responses=_errors())
    async def profile(request: Request) -> Response:
        """Who asks."""
        who = await caller(identity, request)
        user = await users.find(who.user_id)
        shown = translate.person(user) if user else translate.stranger(who.user_id)
        return _json(Profile(user=shown, data=shown))

    @router.get("/auth/oauth/{provider}", response_model=Redirect, responses=_errors(422))
    async def oauth(provider: str, request: Request, redirect_to: str | None = None) -> Response:
        """Where the browser goes to sign in with Google, Twitter or whatever the hosted Supabase has."""
        url = surface.oauth.url(provider, redirect_to, request.query_params)
        return _json(Redirect(provider=provider, url=url))

    return router


async def _signed_in(surface: Surface, user: User) -> SignedIn:
    return translate.signed_in(surface, user, await surface.tokens.begin(Issuer.SOCIAL, user.id))


def _json(body: BaseModel, status: int = 200) -> Response:
    return Response(body.model_dump_json(), status, {"Cache-Control": "no-store"}, media_type="application/json")
