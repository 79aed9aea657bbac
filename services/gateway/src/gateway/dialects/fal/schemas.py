"""The bodies of fal's queue."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, RootModel


class Arguments(RootModel[dict[str, JsonValue]]):
    """What a model is given: no two have the same fields."""

    model_config = ConfigDict(allow_inf_nan=False)


class Addresses(BaseModel):
    request_id: str
    response_url: str
    status_url: str
    cancel_url: str


class Submitted(Addresses):
    status: Literal["IN_QUEUE"] = "IN_QUEUE"
    queue_position: int


class Log(BaseModel):
    message: str
    level: str = "INFO"
    source: str = "gateway"
    timestamp: str


class State(Addresses):
    """`logs` is null unless it was asked for; `error` and `error_type` say why there is no result."""

    status: Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]
    queue_position: int | None = None
    logs: list[Log] | None
    metrics: dict[str, float] = {}
    error: str | None = None
    error_type: str | None = None


class Cancelled(BaseModel):
    status: Literal["CANCELLATION_REQUESTED", "ALREADY_COMPLETED"]


Result = dict[str, Any]
