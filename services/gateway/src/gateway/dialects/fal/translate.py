"""Between fal's queue and the commands and queries."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from fastapi import Request

from contracts.facts import Asset, Ending, Kind, Lane, Verdict
from gateway.dialects.endings import delivered
from gateway.dialects.fal.errors import IN_PROGRESS, REQUEST_ID
from gateway.dialects.fal.schemas import Log, Result, State, Submitted
from gateway.dialects.surface import Surface, traceparent_of
from gateway.dialects.wishes import named, wish_of
from gateway.orders import Order
from gateway.records import Generation
from gateway.refusals import NotFound, Refusal, TimedOut

DIALECT = "fal"
ROUTE = "fal"
_LOW = "low"
_FINAL_STATUS = {409: 499, 429: 500, 502: 500}
"""Clients ask again after 408, 409, 429, 502, 503 and 504; 499 is fal's own word for what was cancelled."""


def order(surface: Surface, app: str, given: Mapping[str, Any], request: Request) -> Order:
    """Raises NotFound for a model that nobody here offers, Invalid for what it cannot do."""
    model = named([model for model, _ in surface.queries.models()], app)
    if model is None:
        raise NotFound("There is no such application.")
    wish = wish_of(model, given)
    is_low = request.headers.get("x-fal-queue-priority", "").strip().lower() == _LOW
    return Order(
        dialect=DIALECT,
        route=ROUTE,
        kind=model.kind,
        prompt=wish.prompt,
        model=model.id,
        count=wish.count,
        size=wish.size,
        seconds=wish.seconds,
        inputs=wish.inputs,
        messages=wish.messages,
        max_tokens=wish.max_tokens,
        options=wish.options,
        lane=Lane.BATCH if is_low else Lane.INTERACTIVE,
        idempotency_key=request.headers.get("idempotency-key"),
        traceparent=traceparent_of(request),
    )


def request_id(text: str) -> UUID:
    """An id that is none names nothing."""
    try:
        return UUID(text)
    except ValueError as error:
        raise NotFound("There is no such request.") from error


def submitted(base: str, app: str, generation: Generation, position: int) -> Submitted:
    return Submitted(queue_position=position, **_addresses(base, app, generation))


def state(base: str, app: str, generation: Generation, position: int, *, with_logs: bool) -> State:
    said = {**_addresses(base, app, generation), "logs": _logs(generation) if with_logs else None}
    if generation.outcome is None:
        if generation.status == "pending":
            return State(status="IN_QUEUE", queue_position=position, **said)
        return State(status="IN_PROGRESS", **said)
    finished_at = generation.completed_at or generation.created_at
    metrics = {"inference_time": (finished_at - generation.created_at).total_seconds()}
    ending = generation.outcome.data
    if ending.verdict is Verdict.COMPLETED:
        return State(status="COMPLETED", metrics=metrics, **said)
    refusal = _why_not(generation)
    return State(status="COMPLETED", metrics=metrics, error=refusal.message, error_type=refusal.code, **said)


def result(surface: Surface, generation: Generation) -> Result:
    """What was made, in the fields of fal's models of its kind.

    Raises:
        Refusal: it is still being made, or there is none.
    """
    if generation.outcome is None:
        refusal = Refusal("Request is still in progress.")
        refusal.code = IN_PROGRESS
        raise refusal
    ending = _delivered(generation)
    files = [_file(surface, generation, asset) for asset in ending.assets]
    if generation.kind is Kind.TEXT:
        return {"output": ending.text}
    if generation.kind is Kind.IMAGE:
        return {"images": files, "prompt": generation.prompt, "seed": generation.options.get("seed")}
    return {"video" if generation.kind is Kind.VIDEO else "audio": next(iter(files), None)}


def held_open(surface: Surface, generation: Generation) -> Result:
    """The same for who waited for it. Raises Refusal, for the same reasons; it names the request."""
    try:
        if generation.outcome is None:
            raise TimedOut("It is still being made: ask the queue for it.")
        return result(surface, generation)
    except Refusal as refusal:
        refusal.headers = refusal.headers | {REQUEST_ID: str(generation.id)}
        raise


def _delivered(generation: Generation) -> Ending:
    """Raises Refusal, with a status that no client of fal takes for a reason to ask again: who had waited for this one
    would have another made, and who asks for its result would ask ten times."""
    try:
        return delivered(generation)
    except Refusal as refusal:
        refusal.status = _FINAL_STATUS.get(refusal.status, refusal.status)
        raise


def _file(surface: Surface, generation: Generation, asset: Asset) -> dict[str, Any]:
    said = {
        "url": surface.address(asset.key, visibility=generation.visibility),
        "content_type": asset.mime_type,
        "file_name": asset.key.rpartition("/")[2],
        "file_size": asset.size_bytes,
        "width": asset.width,
        "height": asset.height,
        "duration": asset.seconds,
    }
    return {name: value for name, value in said.items() if value is not None}


def _why_not(generation: Generation) -> Refusal:
    try:
        _delivered(generation)
    except Refusal as refusal:
        return refusal
    raise AssertionError("it was delivered")


def _logs(generation: Generation) -> list[Log]:
    said = [("It was accepted.", generation.created_at)]
    if generation.completed_at is not None:
        said.append((f"It is {generation.status}.", generation.completed_at))
    return [Log(message=message, timestamp=at.isoformat()) for message, at in said]


def _addresses(base: str, app: str, generation: Generation) -> dict[str, str]:
    address = f"{base}/{app}/requests/{generation.id}"
    return {
        "request_id": str(generation.id),
        "response_url": address,
        "status_url": f"{address}/status",
        "cancel_url": f"{address}/cancel",
    }
