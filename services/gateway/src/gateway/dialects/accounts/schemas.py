"""The bodies of /api/auth, in the frontends' names. Fields that are not known here are ignored."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, SecretStr

from gateway.tokens import MAX_REFRESH_CHARACTERS


class SignIn(BaseModel):
    email: str
    password: SecretStr


class Register(SignIn):
    """`name`, `username` and the like are kept as the user's profile."""

    name: str | None = Field(default=None, max_length=200)
    username: str | None = Field(default=None, max_length=200)
    firstName: str | None = Field(default=None, max_length=200)  # noqa: N815
    lastName: str | None = Field(default=None, max_length=200)  # noqa: N815


class Refresh(BaseModel):
    refreshToken: str = Field(max_length=MAX_REFRESH_CHARACTERS)  # noqa: N815


class Person(BaseModel):
    """A user; without `email` for one whom another issuer signed in."""

    id: UUID
    email: str | None
    name: str | None
    username: str | None
    profile: dict[str, Any]
    createdAt: datetime | None  # noqa: N815


class TokenPair(BaseModel):
    accessToken: str  # noqa: N815
    refreshToken: str  # noqa: N815


class SignedIn(BaseModel):
    """`token` lives as JWT_EXPIRES_IN says; `tokens.accessToken` lives an hour and is refreshed."""

    success: Literal[True] = True
    token: str
    user: Person
    tokens: TokenPair


class Registered(BaseModel):
    """Without tokens where the e-mail address has to be confirmed first."""

    success: Literal[True] = True
    token: str | None
    user: Person
    tokens: TokenPair | None
    message: str


class Refreshed(BaseModel):
    success: Literal[True] = True
    tokens: TokenPair


class Profile(BaseModel):
    success: Literal[True] = True
    user: Person
    data: Person


class Redirect(BaseModel):
    """Where the browser goes to sign in."""

    provider: str
    url: str


class ErrorBody(BaseModel):
    success: Literal[False]
    error: str
    message: str
    detail: str
    code: str
    statusCode: int  # noqa: N815
