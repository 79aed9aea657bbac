"""The bodies of GoTrue, in its own names. Fields that are not known here are ignored."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, SecretStr

from gateway.tokens import MAX_REFRESH_CHARACTERS


class SignUp(BaseModel):
    email: str
    password: SecretStr
    data: dict[str, Any] | None = None


class Grant(BaseModel):
    """E-mail and password, or a refresh token, by `grant_type`."""

    email: str | None = None
    password: SecretStr | None = None
    refresh_token: str | None = Field(default=None, max_length=MAX_REFRESH_CHARACTERS)


class AdminUser(BaseModel):
    """What a service says of a user."""

    email_confirm: Literal[True]


class IdentityView(BaseModel):
    identity_id: UUID
    id: UUID
    user_id: UUID
    identity_data: dict[str, Any]
    provider: Literal["email"] = "email"
    last_sign_in_at: datetime | None
    created_at: datetime
    updated_at: datetime
    email: str


class UserView(BaseModel):
    """A user, as supabase-js knows one."""

    id: UUID
    aud: str = "authenticated"
    role: str = "authenticated"
    email: str
    email_confirmed_at: datetime | None
    confirmed_at: datetime | None
    last_sign_in_at: datetime | None
    phone: str = ""
    app_metadata: dict[str, Any]
    user_metadata: dict[str, Any]
    identities: list[IdentityView]
    created_at: datetime
    updated_at: datetime
    is_anonymous: Literal[False] = False


class SessionView(BaseModel):
    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105
    expires_in: int
    expires_at: int
    refresh_token: str
    user: UserView


class ErrorBody(BaseModel):
    code: int
    error_code: str
    msg: str
