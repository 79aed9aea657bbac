"""Credits, counted in integer units: 1 credit = 10 000 units, the DECIMAL(10,4) of the frontends' tables."""

from collections.abc import Sequence
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field

from contracts.model import Frozen

UNITS_PER_CREDIT = 10_000
_MAX_CREDITS = 10**12

Units = Annotated[int, Field(strict=True)]
"""An amount of money. Never a float."""


TOKENS_PER_PRICE = 1_000_000


class Usage(Frozen):
    """What a text took, in tokens."""

    input_tokens: int = Field(ge=0)
    output_tokens: int = Field(ge=0)


class TokenPrices(Frozen):
    """Units for a million tokens."""

    input: Units = Field(ge=0)
    output: Units = Field(ge=0)

    def of(self, usage: Usage) -> int:
        """What these tokens cost, rounded up to a whole unit."""
        exact = self.input * usage.input_tokens + self.output * usage.output_tokens
        return -(-exact // TOKENS_PER_PRICE)


class Quote(Frozen):
    """What a generation costs at most, fixed when it is accepted."""

    amount: Units = Field(ge=0)
    unit_price: Units = Field(ge=0)
    price_version: int
    tokens: TokenPrices | None = None
    """Set where tokens are paid for; `unit_price` is then the most that one text costs."""


Per = Literal["output", "second", "thousand_characters", "million_tokens"]
CHARACTERS_PER_PRICE = 1000


class Price(Frozen):
    """What a model's output costs. A price that names no size or quality is for any."""

    model: str
    amount: Units = Field(ge=0)
    size: str | None = None
    quality: str | None = None
    per: Per = "output"
    input_amount: Units = Field(default=0, ge=0)
    """Units for a million tokens that are read; `amount` is for those that are written."""
    provider_cost_micros: int | None = Field(default=None, ge=0)
    """What the provider takes for the same, in millionths of a US dollar; None where nobody wrote it down."""

    def fits(self, size: str | None, quality: str | None) -> bool:
        return self.size in {None, size} and self.quality in {None, quality}

    @property
    def rank(self) -> tuple[bool, bool]:
        """The one that says more is the one that counts; the size before the quality."""
        return self.size is not None, self.quality is not None


class PriceList(Frozen):
    """What things cost, in units, as of one version."""

    version: int
    prices: dict[str, Units]
    """Of each model that is for sale, where no price in the table says more."""
    table: tuple[Price, ...] = ()

    def of(self, model: str) -> Sequence[Price]:
        """A model's prices, the least special first; empty where it is not for sale."""
        return self._by_model.get(model, ())

    @cached_property
    def _by_model(self) -> dict[str, list[Price]]:
        found: dict[str, list[Price]] = {model: [] for model in self.prices}
        for price in sorted(self.table, key=lambda price: price.rank):
            found.setdefault(price.model, []).append(price)
        for model, base in self.prices.items():
            if not found[model] or found[model][0].rank != (False, False):
                found[model].insert(0, Price(model=model, amount=base))
        return {model: found[model] for model in self.prices}

    def quote(
        self,
        model: str,
        count: int,
        *,
        size: str | None = None,
        quality: str | None = None,
        seconds: int | None = None,
        characters: int | None = None,
        usage: Usage | None = None,
    ) -> Quote | None:
        """What `count` outputs cost; None for what has no price, which is refused and never free.

        A price per second or character needs to be told how many, a price per token how many at most.
        """
        fitting = [price for price in self.of(model) if price.fits(size, quality)]
        if not fitting:
            return None
        price = fitting[-1]
        tokens = None
        match price.per:
            case "output":
                unit_price = price.amount
            case "second":
                if not seconds:
                    return None
                unit_price = price.amount * seconds
            case "thousand_characters":
                if not characters:
                    return None
                unit_price = -(-price.amount * characters // CHARACTERS_PER_PRICE)
            case "million_tokens":
                if usage is None:
                    return None
                tokens = TokenPrices(input=price.input_amount, output=price.amount)
                unit_price = tokens.of(usage)
        return Quote(amount=unit_price * count, unit_price=unit_price, price_version=self.version, tokens=tokens)


class Balance(Frozen):
    """A user's money in units: `used` is what was captured or consumed so far.

    `debt` is what refunds and disputes of payments took back beyond what was there; what comes in pays it first.
    """

    available: Units
    held: Units
    used: Units
    debt: Units = 0
    last_updated: AwareDatetime | None = None
    """When it changed; None for a user who has no account yet."""

    def after_debt(self) -> Self:
        """As it is once what is there has paid what is owed: that happens soon, and until then nobody spends it."""
        paid = min(self.available, self.debt)
        return self.model_copy(update={"available": self.available - paid, "debt": self.debt - paid})


def cost(quote: Quote, delivered: int, usage: Usage | None = None, percent: int = 100) -> int:
    """What is captured for `delivered` outputs, in units; never more than was quoted.

    Tokens are paid as used. Where nobody counted them, the whole quote is due: a text that was delivered is not free.
    `percent` of all that where it was made before, rounded down.
    """
    if quote.tokens is not None and usage is not None and delivered:
        price = min(quote.amount, quote.tokens.of(usage))
    else:
        price = min(quote.amount, quote.unit_price * delivered)
    return price * percent // 100


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
