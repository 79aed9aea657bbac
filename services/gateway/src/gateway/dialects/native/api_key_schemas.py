"""The bodies of /v1/api-keys. Caps are credits."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator

from gateway.api_keys.keys import DEFAULT_OVERLAP_SECONDS, MAX_OVERLAP_SECONDS
from gateway.dialects.native.schemas import Moment

Scope = Literal["read", "write", "account"]
MAX_CREDITS = 1_000_000_000


class NewApiKey(BaseModel):
    """What a program is allowed to do for you. What is absent has no bound of its own; your own bounds hold always."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "renderer", "requests_per_minute": 60, "credits_per_day": 100}]},
    )

    name: str = Field(min_length=1, max_length=100)
    scopes: list[Scope] = Field(
        default=["read", "write"],
        min_length=1,
        max_length=3,
        description="`read`: look at things. `write`: make, cancel, delete. `account`: keys, webhooks and payments.",
    )
    requests_per_minute: int | None = Field(default=None, ge=1, le=1_000_000, strict=True)
    credits_per_day: int | None = Field(default=None, ge=1, le=MAX_CREDITS, strict=True, description="Days are UTC.")
    credits_per_month: int | None = Field(default=None, ge=1, le=MAX_CREDITS, strict=True)
    expires_at: Moment | None = None

    @field_validator("name")
    @classmethod
    def _printable(cls, name: str) -> str:
        if not name.isprintable():
            raise ValueError("no control characters")
        return name


class Rotation(BaseModel):
    """How the former key goes."""

    model_config = ConfigDict(extra="forbid")

    overlap_seconds: int = Field(
        default=DEFAULT_OVERLAP_SECONDS,
        ge=0,
        le=MAX_OVERLAP_SECONDS,
        strict=True,
        description="How long the former key works on.",
    )


class ApiKeyView(BaseModel):
    """`key` is there when it is new, and never again; `prefix` tells which it is."""

    id: UUID
    name: str
    prefix: str
    key: str | None = None
    scopes: list[Scope]
    requests_per_minute: int | None
    credits_per_day: int | float | None
    credits_per_month: int | float | None
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")
    created_at: datetime
    previous_works_until: datetime | None = Field(description="While the key before a rotation works as well.")


class ApiKeyList(BaseModel):
    items: list[ApiKeyView]
