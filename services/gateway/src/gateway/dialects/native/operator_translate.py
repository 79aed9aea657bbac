"""From what the operator's queries found to the bodies of /v1/operator."""

from dataclasses import asdict
from decimal import Decimal

from contracts.money import UNITS_PER_CREDIT, in_credits
from contracts.watching import BookFigures, WorkFigures
from gateway.dialects.native.operator_schemas import (
    AcceptedView,
    BreakerView,
    HouseView,
    LagView,
    LetterView,
    MoneyView,
    OpenHoldView,
    ProviderView,
    UnknownAttemptView,
)
from gateway.operating import House, Letter

SHOWN_MINUTES = 60
"""At most: as many bars as a small screen can show."""


def house_view(house: House, minutes: int, credit_price: Decimal) -> HouseView:
    """`credit_price` is in US dollars."""
    book, work = house.book, house.work
    by_minute = {row.ago: row.number for row in house.by_minute}
    return HouseView(
        minutes=minutes,
        accepted=[AcceptedView(**row) for row in house.accepted],
        by_minute=[by_minute.get(ago, 0) for ago in reversed(range(min(minutes, SHOWN_MINUTES)))],
        providers=work and [ProviderView(**each.model_dump()) for each in work.providers],
        lag=[LagView(consumer=consumer, waiting=waiting) for consumer, waiting in house.lag.items()],
        open_holds=book and book.open_holds,
        open_credits=book and in_credits(book.open_units),
        oldest_holds=book
        and [
            OpenHoldView(generation_id=each.generation_id, credits=in_credits(each.units), opened_at=each.opened_at)
            for each in book.oldest
        ],
        open_work=work and work.open_work,
        unknown_attempts=work and [UnknownAttemptView(**each.model_dump()) for each in work.unknown],
        breakers=work and [BreakerView(**each.model_dump()) for each in work.breakers],
        dead_letters=house.dead,
        money=_money(book, work, credit_price),
    )


def _money(book: BookFigures | None, work: WorkFigures | None, credit_price: Decimal) -> MoneyView | None:
    if book is None or work is None:
        return None
    revenue = int(book.captured * credit_price * 1_000_000 / UNITS_PER_CREDIT)
    cost = sum(each.cost_micros for each in work.providers)
    return MoneyView(
        captured=in_credits(book.captured),
        captures=book.captures,
        revenue_micros=revenue,
        cost_micros=cost,
        margin_micros=revenue - cost,
    )


def letter_view(letter: Letter) -> LetterView:
    return LetterView(**asdict(letter))
