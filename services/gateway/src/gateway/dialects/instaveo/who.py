"""Who asks: a token as it is, or in the whole session that older builds send; nobody may read what is public."""

import hmac
import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

import jwt
from fastapi import Request

from gateway.api_keys.ring import Key
from gateway.dialects.callers import caller
from gateway.identity import NOBODY, Caller, Identity
from gateway.refusals import Unauthenticated

_BEARER = "bearer "
_SESSION = "bearer {"
MAX_SESSION_CHARACTERS = 32_768


@dataclass(frozen=True, slots=True)
class Who:
    """A signed-in user, and what the token says of them."""

    user_id: UUID
    email: str = ""
    name: str = ""
    """What they would like to be called."""
    is_enterprise: bool | None = None
    """None where the token does not say."""
    key: Key | None = None
    """The API key that asks, where one does: what it may spend is bounded."""
    alias: UUID | None = None
    """The user's own other name (`identity.Caller.alias`)."""


async def member(identity: Identity, request: Request) -> Who:
    """Raises Unauthenticated, or NotFound as `callers.caller` does."""
    request = _with_token(request)
    known = await caller(identity, request)
    return _who(known, request)


async def anybody(identity: Identity, request: Request) -> UUID | None:
    """The user, where somebody is signed in. Raises Unauthenticated for a token that is not to be believed."""
    known = await identity.caller(_with_token(request))
    if known is None:
        return (await caller(identity, request)).user_id if identity.is_local(request) else None
    return None if known.user_id == NOBODY else known.user_id


def session_of(identity: Identity, request: Request, key: bytes) -> str:
    """What stands for somebody without a token: a keyed hash of address and agent, 32 characters."""
    about = f"{identity.proxies.address(request)}\n{request.headers.get('user-agent', '')}"
    return hmac.new(key, about.encode(), sha256).hexdigest()[:32]


def _with_token(request: Request) -> Request:
    """The same request, with the session's access token in the place of the session."""
    header = request.headers.get("authorization", "")
    if header[: len(_SESSION)].lower() != _SESSION:
        return request
    try:
        if len(header) > MAX_SESSION_CHARACTERS:
            raise ValueError
        token = json.loads(header[len(_BEARER) :])["access_token"]
        if not isinstance(token, str):
            raise ValueError
        value = f"Bearer {token}".encode("latin-1")
    except (ValueError, KeyError, RecursionError) as error:
        raise Unauthenticated("The session after 'Bearer' has no access_token: send the token alone.") from error
    headers = [(name, text) for name, text in request.scope["headers"] if name != b"authorization"]
    return Request({**request.scope, "headers": [*headers, (b"authorization", value)]}, request.receive)


def _who(known: Caller, request: Request) -> Who:
    claims = _claims(request) if known.key is None else {}
    about, set_by_issuer = _mapping(claims, "user_metadata"), _mapping(claims, "app_metadata")
    email = claims.get("email")
    wishes = (about.get("username"), about.get("user_name"), about.get("name"), str(email or "").partition("@")[0])
    return Who(
        known.user_id,
        email if isinstance(email, str) else "",
        next((wish for wish in wishes if isinstance(wish, str) and wish), ""),
        set_by_issuer.get("enterprise") is True if set_by_issuer else None,
        known.key,
        known.alias,
    )


def _claims(request: Request) -> dict[str, Any]:
    """What the token says, which was verified a moment ago."""
    token = request.headers.get("authorization", "").partition(" ")[2].strip()
    if not token:
        return {}
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def _mapping(claims: dict[str, Any], name: str) -> dict[str, Any]:
    value = claims.get(name)
    return value if isinstance(value, dict) else {}
