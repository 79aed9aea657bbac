"""Facts as the other services say them."""

import time
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from contracts.facts import Asset, Ending, Failure, Kind, Lane, Outcome, Request, Requested, Verdict
from contracts.ids import asset_id, new_generation_id
from contracts.money import UNITS_PER_CREDIT, Quote

CREDIT = UNITS_PER_CREDIT
TEST_SECONDS = 5


def today() -> date:
    """The day. The last seconds of one are waited out: what a test does is all of one day."""
    later = datetime.now(UTC) + timedelta(seconds=TEST_SECONDS)
    if later.date() != datetime.now(UTC).date():
        time.sleep(TEST_SECONDS)
    return datetime.now(UTC).date()


def request(user_id: UUID, *, count: int = 1, unit_price: int = CREDIT, id_: UUID | None = None) -> Request:
    return Request(
        generation_id=id_ or new_generation_id(),
        user_id=user_id,
        kind=Kind.IMAGE,
        lane=Lane.INTERACTIVE,
        model="dall-e-3",
        prompt="a boat",
        count=count,
        quote=Quote(amount=unit_price * count, unit_price=unit_price, price_version=1),
        deadline_at=datetime.now(UTC) + timedelta(minutes=5),
    )


def requested(asked: Request) -> Requested:
    return Requested.of(asked, "gateway", f"00-{asked.generation_id.hex}-00f067aa0ba902b7-01")


def completed(generation_id: UUID, delivered: int = 1) -> Outcome:
    assets = tuple(
        Asset(
            id=asset_id(generation_id, index),
            index=index,
            key=f"k/{index}.png",
            mime_type="image/png",
            size_bytes=1,
            sha256="0" * 64,
        )
        for index in range(delivered)
    )
    return Outcome.of(Ending(generation_id=generation_id, verdict=Verdict.COMPLETED, assets=assets), "storage", None)


def failed(generation_id: UUID, code: str = "provider_error", source: str = "generator") -> Outcome:
    failure = Failure(code=code, message="It did not work.")
    return Outcome.of(Ending(generation_id=generation_id, verdict=Verdict.FAILED, failure=failure), source, None)


def cancelled(generation_id: UUID) -> Outcome:
    return Outcome.of(Ending(generation_id=generation_id, verdict=Verdict.CANCELLED), "gateway", None)


def declined(generation_id: UUID) -> Outcome:
    failure = Failure(code="insufficient_credits", message="Not enough.")
    return Outcome.of(Ending(generation_id=generation_id, verdict=Verdict.DECLINED, failure=failure), "ledger", None)
