"""Between predictions and the commands and queries."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote
from uuid import UUID

from fastapi import Request

from contracts.facts import Ending, Kind, Verdict
from contracts.questions import CatalogModel
from gateway.dialects.preferences import preferences, whole_seconds
from gateway.dialects.replicate.models import OWNER, PREFIX
from gateway.dialects.replicate.reading import stream_address
from gateway.dialects.replicate.schemas import Prediction, PredictionPage, Status, Urls
from gateway.dialects.surface import Surface, traceparent_of
from gateway.dialects.wishes import wish_of
from gateway.identity import Caller
from gateway.orders import Order
from gateway.pages import Page
from gateway.records import Generation
from gateway.refusals import Invalid, NotFound

DIALECT = "replicate"
ROUTE = f"{PREFIX}/predictions"
"""Whichever path it is asked by: one key is one prediction, and its files are the same."""
WAIT_SECONDS = 60.0
"""What `Prefer: wait` means without a number, and the longest that one may say."""
MIN_LIFETIME_SECONDS = 5
MAX_LIFETIME_SECONDS = 86_400
"""No model takes as long."""
_LIFETIME = re.compile(r"(?:([0-9]{1,4})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6})s?)?")
_STATES: dict[str, Status] = {
    "pending": "starting",
    "processing": "processing",
    "completed": "succeeded",
    "failed": "failed",
    "declined": "failed",
    "cancelled": "canceled",
}


def order(model: CatalogModel, given: Mapping[str, Any], request: Request) -> Order:
    wish, lifetime = wish_of(model, given), lifetime_seconds(request.headers.get("cancel-after"))
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
        remarks={"input": dict(given)} | ({"cancel_after": lifetime} if lifetime else {}),
        deadline_seconds=lifetime,
        idempotency_key=request.headers.get("idempotency-key"),
        traceparent=traceparent_of(request),
    )


def wait_seconds(surface: Surface, caller: Caller, request: Request) -> float | None:
    """How long to hold the answer: `wait` or `wait=5`; None where it does not say, or says nonsense, and where that is
    passed over."""
    wait = preferences(request).get("wait")
    seconds = WAIT_SECONDS if wait == "" else whole_seconds(wait or "")
    return surface.verdicts.granted(caller.user_id, None if seconds is None else min(seconds, WAIT_SECONDS))


def lifetime_seconds(cancel_after: str | None) -> int | None:
    """How long it may take: `90`, `90s`, `1m30s` or `1h`. Raises Invalid for what is none, or less than 5 seconds."""
    if cancel_after is None:
        return None
    found = _LIFETIME.fullmatch(cancel_after.strip())
    if found is None or not any(found.groups()):
        raise Invalid("Cancel-After: a time as in 90, 90s, 1m30s or 1h.")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    lifetime = 3600 * hours + 60 * minutes + seconds
    if lifetime < MIN_LIFETIME_SECONDS:
        raise Invalid(f"Cancel-After: at least {MIN_LIFETIME_SECONDS} seconds.")
    return min(lifetime, MAX_LIFETIME_SECONDS)


def prediction_id(text: str) -> UUID:
    """An id that is none names nothing."""
    try:
        return UUID(text)
    except ValueError as error:
        raise NotFound("There is no such prediction.") from error


def view(surface: Surface, generation: Generation, *, waited: bool = False) -> Prediction:
    """A prediction; one that was waited for in vain is said to be `starting`, whatever it does: the official client
    takes every other word for the end of waiting."""
    ending = generation.outcome.data if generation.outcome else None
    seconds = (generation.completed_at - generation.created_at).total_seconds() if generation.completed_at else None
    base = f"{surface.addresses.public_url.rstrip('/')}{PREFIX}/predictions/{generation.id}"
    return Prediction(
        id=str(generation.id),
        model=f"{OWNER}/{generation.model}",
        version=generation.model,
        input=_input(generation),
        output=_output(surface, generation, ending) if ending else None,
        logs="",
        error=_error(ending) if ending else None,
        status="starting" if waited and ending is None else _status(generation),
        data_removed=False,
        created_at=generation.created_at,
        started_at=generation.created_at if generation.status == "processing" or ending else None,
        completed_at=generation.completed_at,
        metrics={} if seconds is None else {"predict_time": seconds},
        urls=Urls(
            get=base,
            cancel=f"{base}/cancel",
            stream=stream_address(surface, generation) if generation.kind is Kind.TEXT else None,
        ),
    )


def _status(generation: Generation) -> Status:
    """What ended because its `Cancel-After` was over is cancelled, whatever it is called elsewhere; so is a text that
    its user cancelled, with what there is of it."""
    ending = generation.outcome.data if generation.outcome else None
    if ending is not None:
        is_late = ending.cut_by == "deadline" or (ending.failure is not None and ending.failure.code == "deadline")
        if ending.cut_by == "cancel" or (is_late and generation.remarks.get("cancel_after")):
            return "canceled"
    return _STATES[generation.status]


def page_view(surface: Surface, page: Page) -> PredictionPage:
    base = f"{surface.addresses.public_url.rstrip('/')}{PREFIX}/predictions"
    following = f"{base}?cursor={quote(page.cursor)}" if page.cursor else None
    return PredictionPage(next=following, results=[view(surface, item) for item in page.items])


def _input(generation: Generation) -> dict[str, Any]:
    """As it was given; of what was asked for elsewhere, what there is of it."""
    if generation.dialect == DIALECT:
        found: dict[str, Any] = generation.remarks["input"]
        return found
    said = {
        "prompt": generation.prompt,
        "num_outputs": generation.count,
        "size": generation.size,
        "duration": generation.particulars.get("seconds"),
    }
    return {name: value for name, value in said.items() if value is not None}


def _output(surface: Surface, generation: Generation, ending: Ending) -> list[str] | str | None:
    if ending.verdict is not Verdict.COMPLETED:
        return None
    if generation.kind is Kind.TEXT:
        return ending.text
    made = [surface.address(asset.key, visibility=generation.visibility) for asset in ending.assets]
    return made if generation.kind is Kind.IMAGE else next(iter(made), None)


def _error(ending: Ending) -> str | None:
    if ending.verdict in {Verdict.COMPLETED, Verdict.CANCELLED}:
        return None
    if ending.failure is not None:
        return ending.failure.message
    return "Not enough credits." if ending.verdict is Verdict.DECLINED else "It failed. Nothing was charged."
