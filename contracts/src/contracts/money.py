"""Credits, counted in integer units: 1 credit = 10 000 units, the DECIMAL(10,4) of the frontends' tables."""

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from contracts.model import Frozen

UNITS_PER_CREDIT = 10_000
_MAX_CREDITS = 10**12

Units = Annotated[int, Field(strict=True)]
"""An amount of money. Never a float."""


class Quote(Frozen):
    """What a generation costs at most, fixed when it is accepted."""

    amount: Units = Field(ge=0)
    unit_price: Units = Field(ge=0)
    price_version: int


class PriceList(Frozen):
    """The price of one output of each model, in units, as of one version."""

    version: int
    prices: dict[str, Units]

    def quote(self, model: str, count: int) -> Quote | None:
        """What `count` outputs cost; None for a model without a price, which is refused and never free."""
        price = self.prices.get(model)
        if price is None:
            return None
        return Quote(amount=price * count, unit_price=price, price_version=self.version)


def cost(quote: Quote, delivered: int) -> int:
    """What is captured for `delivered` outputs, in units; never more than was quoted."""
    return min(quote.amount, quote.unit_price * delivered)


def to_units(amount: Decimal | int | str) -> int:
    """Units of an amount in credits.

    Raises:
        ValueError: not a number, finer than one unit, or beyond 10¹² credits.
    """
    try:
        exact = Decimal(amount)
        units = exact * UNITS_PER_CREDIT
        if not exact.is_finite() or abs(exact) > _MAX_CREDITS or units != units.to_integral_value():
            raise ValueError(f"not an amount of credits: {amount}")
    except ArithmeticError as error:
        raise ValueError(f"not an amount of credits: {amount}") from error
    return int(units)


def in_credits(units: int) -> int | float:
    """Credits as a JSON number: the only place where an amount leaves the integers, for display.

    Exact up to 10¹¹ credits: four decimals and eleven digits fit the 53 bits whose shortest form is printed.
    """
    whole, rest = divmod(units, UNITS_PER_CREDIT)
    return whole if rest == 0 else units / UNITS_PER_CREDIT
