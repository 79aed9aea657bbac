"""The bodies of /v1/operator. Dollars are given in millionths."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from contracts.facts import Kind


class AcceptedView(BaseModel):
    """What was asked for in the last minutes, of one kind, and how it stands."""

    kind: Kind
    status: str
    number: int
    p50_seconds: float | None = Field(description="From being asked for to its end.")
    p95_seconds: float | None


class ProviderView(BaseModel):
    """The attempts at one provider that began in the last minutes."""

    provider: str
    rendered: int
    failed: int
    unknown: int
    running: int
    p50_seconds: float | None
    p95_seconds: float | None
    cost_micros: int


class OpenHoldView(BaseModel):
    generation_id: UUID
    credits: int | float
    opened_at: datetime


class UnknownAttemptView(BaseModel):
    """Nobody knows whether it was paid."""

    id: UUID
    generation_id: UUID
    provider: str
    model: str | None
    began_at: datetime


class BreakerView(BaseModel):
    """A provider's model that is left alone for a while."""

    provider: str
    model: str
    open_until: datetime


class LagView(BaseModel):
    consumer: str
    waiting: int | None = Field(description="Facts that it has not settled; null where nobody knows.")


class MoneyView(BaseModel):
    """Of the last minutes."""

    captured: int | float = Field(description="Credits that users paid.")
    captures: int
    revenue_micros: int = Field(description="What they are worth at the price of a credit.")
    cost_micros: int = Field(description="What providers charged, where that is known.")
    margin_micros: int


class HouseView(BaseModel):
    """How the house stands. `null` is said by whoever does not answer right now."""

    minutes: int
    accepted: list[AcceptedView]
    by_minute: list[int] = Field(description="How many were asked for, minute by minute, the latest last.")
    providers: list[ProviderView] | None
    lag: list[LagView]
    open_holds: int | None
    open_credits: int | float | None
    oldest_holds: list[OpenHoldView] | None
    open_work: int | None
    unknown_attempts: list[UnknownAttemptView] | None
    breakers: list[BreakerView] | None
    dead_letters: int | None
    money: MoneyView | None


class OperatedModel(BaseModel):
    """A model, switched off or not."""

    id: str
    kind: Kind
    provider: str
    provider_model: str
    state: Literal["active", "legacy", "off"]
    successor: str | None
    has_key: bool = Field(description="Whether whoever does its work has one.")


class OperatedModels(BaseModel):
    items: list[OperatedModel]


class Switch(BaseModel):
    """Whether it is offered from now on."""

    model_config = ConfigDict(extra="forbid")

    on: bool


class LetterView(BaseModel):
    """A fact that no consumer could handle."""

    sequence: int
    at: datetime
    consumer: str
    subject: str | None
    generation_id: UUID | None
    reason: str
    deliveries: int
    payload: str | None


class Letters(BaseModel):
    """Oldest first. Give the last `sequence` as `after` for more."""

    items: list[LetterView]
