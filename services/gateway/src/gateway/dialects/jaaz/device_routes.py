"""The routes of device logins, RFC 8628's form and the client's, and about who is signed in."""

import json
from typing import Any
from urllib.parse import parse_qs, urlencode
from uuid import UUID

import jwt
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from gateway.beginnings import together
from gateway.dialects.jaaz import errors
from gateway.dialects.jaaz.answers import ERRORS, Desk
from gateway.dialects.jaaz.client import ERRORS as CLIENT_ERRORS
from gateway.dialects.jaaz.devices import LIFETIME_SECONDS, Allowed, DeviceRefusal, Devices
from gateway.dialects.jaaz.schemas import DeviceCode, DeviceToken, Document, Done, UserView
from gateway.dialects.surface import Surface, route_class
from gateway.identity import Caller
from gateway.refusals import Invalid, MalformedBody, Refusal, Unauthenticated
from gateway.tokens import Issuer

POLL_SECONDS = 1
"""How often the client asks in its own form."""
PAGE = "/auth/device"
MAX_CODE_CHARACTERS = 200
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {
                "schema": {
                    "type": "object",
                    "required": ["device_code"],
                    "properties": {"device_code": {"type": "string"}},
                }
            }
            for kind in ("application/json", "application/x-www-form-urlencoded")
        },
    }
}


_PUBLIC: dict[str, Any] = {"security": [{}, {"bearer": []}]}
"""A device has no token yet."""


class Decision(BaseModel):
    user_code: str = Field(min_length=1, max_length=MAX_CODE_CHARACTERS)
    allow: bool = True


class Logout(BaseModel):
    all: bool = False


def make_router(desk: Desk, devices: Devices) -> APIRouter:
    """Both forms."""
    return together(_seed(desk, devices), _client(desk, devices))


def _seed(desk: Desk, devices: Devices) -> APIRouter:
    router = APIRouter(prefix="/api/v1/auth", tags=["jaaz"], route_class=route_class(errors.render), responses=ERRORS)
    surface = desk.surface

    @router.post("/device/code", summary="Begin to sign in on a device", openapi_extra=_PUBLIC)
    async def begin(request: Request) -> DeviceCode:
        begun = await devices.begin(surface.identity.proxies.address(request))
        page = surface.addresses.public_url.rstrip("/") + PAGE
        return DeviceCode(
            device_code=begun.device_code,
            user_code=begun.user_code,
            verification_uri=page,
            verification_uri_complete=f"{page}?{urlencode({'code': begun.user_code})}",
            expires_in=LIFETIME_SECONDS,
            interval=5,
        )

    @router.post("/device/token", summary="Ask whether the device is allowed", openapi_extra=_BODY | _PUBLIC)
    async def token(request: Request) -> DeviceToken:
        """As JSON, or as the form of RFC 8628; `error` is one of its words until there is a token."""
        allowed = await devices.take(await _device_code(request))
        return DeviceToken(access_token=await _token(surface, allowed), expires_in=surface.tokens.lifetime(Issuer.JAAZ))

    @router.post("/device/approve", summary="Allow a device, or refuse it")
    async def decide(body: Decision, request: Request) -> Done:
        """For whoever is signed in here, and for nobody else."""
        who = await desk.who(request)
        who.may_manage()
        await devices.decide(who.user_id, body.user_code, await profile_of(surface, who, request), allow=body.allow)
        return Done()

    @router.post("/logout", summary="Sign a device out, or all of them")
    async def logout(body: Logout, request: Request) -> Done:
        """The device that asks; with `all` every device of whoever asks, by whatever token. Within a minute their
        tokens are refused, and within two a socket that is open ends."""
        who = await desk.who(request)
        who.may_manage()
        if not body.all and who.session_id is None:
            raise Invalid("all: true, since this is no device's token")
        await surface.tokens.end(Issuer.JAAZ, who.user_id, only=None if body.all else who.session_id)
        return Done()

    @router.get("/user", summary="Who is signed in")
    async def user(request: Request) -> UserView:
        profile = await profile_of(surface, await desk.who(request), request)
        return UserView(
            id=profile["id"], email=profile["email"], name=profile["username"], avatar_url=profile["image_url"] or None
        )

    return router


def _client(desk: Desk, devices: Devices) -> APIRouter:
    router = APIRouter(
        prefix="/api/device", tags=["jaaz"], route_class=route_class(errors.render_client), responses=CLIENT_ERRORS
    )
    surface = desk.surface

    @router.post("/auth", summary="Begin to sign in on a device, with one code", openapi_extra=_PUBLIC)
    async def begin(request: Request) -> Document:
        address = surface.identity.proxies.address(request)
        begun = await devices.begin(address, one_code=True, interval_seconds=POLL_SECONDS)
        return {"status": "success", "code": begun.user_code, "expires_at": begun.expires_at, "message": ""}

    @router.get("/poll", summary="Ask whether the device is allowed, with its one code", openapi_extra=_PUBLIC)
    async def poll(request: Request, code: str = "") -> Document:
        """Always 200: the client looks at `status` alone."""
        try:
            allowed = await devices.take(code)
            return {"status": "authorized", "token": await _token(surface, allowed), "user_info": allowed.profile}
        except DeviceRefusal as refusal:
            pending = refusal.code in {"authorization_pending", "slow_down"}
            status = "pending" if pending else "expired" if refusal.code == "expired_token" else "error"
            return {"status": status, "message": refusal.message}
        except Refusal as refusal:
            return {"status": "error", "message": refusal.message}

    @router.get("/refresh-token", summary="Get a new token for a device's")
    async def refresh(request: Request) -> dict[str, str]:
        """Only for a device's own token: others live as long as their issuer says."""
        who, claims = await desk.who(request), _claims(request)
        if claims.get("iss") != Issuer.JAAZ.value:
            raise Unauthenticated("Only the token of a device is made new: sign in again.")
        allowed = Allowed(who.user_id, await profile_of(surface, who, request))
        return {"new_token": await _token(surface, allowed, who.session_id)}

    return router


async def profile_of(surface: Surface, who: Caller, request: Request) -> dict[str, Any]:
    """What is known of the caller: here, or by what their token says of them."""
    user, claims = await surface.users.find(who.user_id), _claims(request)
    metadata = claims.get("user_metadata")
    said = metadata if isinstance(metadata, dict) else {}
    email = user.email if user else _text(claims.get("email"))
    name = user.name if user else _text(said.get("full_name")) or _text(said.get("name")) or _text(claims.get("name"))
    since = user.created_at.isoformat() if user else ""
    return {
        "id": str(who.user_id),
        "username": name or email.partition("@")[0] or str(who.user_id),
        "email": email,
        "image_url": _text(said.get("avatar_url")) or _text(claims.get("picture")),
        "provider": "darkroom" if user else _text(claims.get("iss")) or "local",
        "created_at": since,
        "updated_at": user.updated_at.isoformat() if user else since,
    }


async def _token(surface: Surface, allowed: Allowed, session_id: UUID | None = None) -> str:
    """A device's token, which says of its user what the page knew; of a new session, where it is of none yet.

    Raises NotConfigured.
    """
    if session_id is None:
        session_id = (await surface.tokens.begin(Issuer.JAAZ, allowed.user_id)).id
    else:
        await surface.tokens.lengthen(session_id)
    claims = {"email": allowed.profile["email"], "name": allowed.profile["username"], "session_id": str(session_id)}
    claims["picture"] = allowed.profile["image_url"]
    return surface.tokens.access(Issuer.JAAZ, allowed.user_id, {name: value for name, value in claims.items() if value})


def _claims(request: Request) -> dict[str, Any]:
    """Of the token that the caller was believed by; empty where it was something else."""
    _, _, token = request.headers.get("authorization", "").partition(" ")
    try:
        return dict(jwt.decode(token.strip(), options={"verify_signature": False}))
    except jwt.PyJWTError:
        return {}


def _text(said: Any) -> str:
    return said if isinstance(said, str) else ""


async def _device_code(request: Request) -> str:
    """Out of JSON or a form. Raises Invalid, MalformedBody."""
    body = await request.body()
    try:
        if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            code: Any = parse_qs(body.decode()).get("device_code", [None])[0]
        else:
            given = json.loads(body)
            code = given.get("device_code") if isinstance(given, dict) else None
    except (ValueError, RecursionError) as error:
        raise MalformedBody("The body is not valid JSON.") from error
    if not isinstance(code, str) or not 0 < len(code) <= MAX_CODE_CHARACTERS:
        raise Invalid("device_code: a text")
    return code
