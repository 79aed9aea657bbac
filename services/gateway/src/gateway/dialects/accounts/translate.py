"""Between the frontends' accounts and our users, sessions and tokens."""

from typing import Any
from uuid import UUID

from gateway.dialects.accounts.schemas import Person, Refreshed, Register, Registered, SignedIn, TokenPair
from gateway.dialects.surface import Surface
from gateway.tokens import Issuer, Session
from gateway.users import User


def profile_of(body: Register) -> dict[str, Any]:
    """What somebody said of themselves."""
    full_name = " ".join(filter(None, (body.firstName, body.lastName)))
    said = {"name": body.name or full_name or None, "username": body.username}
    return {name: value for name, value in said.items() if value}


def person(user: User) -> Person:
    return Person(
        id=user.id,
        email=user.email,
        name=user.name,
        username=user.profile.get("username") or user.name,
        profile=user.profile,
        createdAt=user.created_at,
    )


def stranger(user_id: UUID) -> Person:
    """Somebody whom another issuer signed in."""
    return Person(id=user_id, email=None, name=None, username=None, profile={}, createdAt=None)


def signed_in(surface: Surface, user: User, session: Session) -> SignedIn:
    return SignedIn(
        token=surface.tokens.access(Issuer.REELMATE, user.id, _claims(user)),
        user=person(user),
        tokens=_pair(surface, user, session),
    )


def registered(made: SignedIn | None, user: User) -> Registered:
    """Signed in at once, or not before the address is confirmed."""
    if made is None:
        return Registered(token=None, user=person(user), tokens=None, message="Confirm your e-mail address.")
    return Registered(token=made.token, user=made.user, tokens=made.tokens, message="Welcome.")


def refreshed(surface: Surface, user: User, session: Session) -> Refreshed:
    return Refreshed(tokens=_pair(surface, user, session))


def _pair(surface: Surface, user: User, session: Session) -> TokenPair:
    access = surface.tokens.access(Issuer.SOCIAL, user.id, _claims(user))
    return TokenPair(accessToken=access, refreshToken=session.refresh_token)


def _claims(user: User) -> dict[str, Any]:
    return {"email": user.email, **({"email_verified": True} if user.email_verified_at else {})}
