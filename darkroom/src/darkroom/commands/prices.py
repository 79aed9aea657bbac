"""`darkroom prices`."""

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkroom.commands.options import DEFAULT_DATA, Data, fail

if TYPE_CHECKING:
    from contracts.money import PriceList

ANSWER_SECONDS = 5.0
_MICROS_PER_DOLLAR = 1_000_000


def prices(
    credit_dollars: Annotated[
        str | None, typer.Option("--credit", help="What you sell a credit for, in US dollars: shows the margin.")
    ] = None,
    data: Data = DEFAULT_DATA,
) -> None:
    """Print what things cost: our price, and beside it what the provider takes for the same."""
    import asyncio

    from nats.errors import Error as NatsError
    from pydantic import ValidationError
    from rich.console import Console

    from darkroom.stack import NoStackError, Stack

    try:
        credit = None if credit_dollars is None else Decimal(credit_dollars)
        nats_url = Stack.find(data).address("nats_url")
    except ArithmeticError:
        fail(f"Not an amount of dollars: {credit_dollars}")
    except NoStackError as error:
        fail(str(error))
    try:
        found = asyncio.run(_ask(nats_url))
    except (NatsError, OSError, ValidationError) as error:
        fail(f"The ledger did not answer ({type(error).__name__}).")
    Console().print(_table(found, credit))


async def _ask(nats_url: str) -> "PriceList":
    from contracts.money import PriceList
    from contracts.questions import LEDGER_PRICES, Nothing
    from darkroom.jetstream import connect

    client = await connect(nats_url, "prices")
    try:
        question = Nothing().model_dump_json().encode()
        answer = await client.request(LEDGER_PRICES, question, timeout=ANSWER_SECONDS)
        return PriceList.model_validate_json(answer.data)
    finally:
        await client.close()


def _table(found: "PriceList", credit: Decimal | None) -> Any:
    from rich import box
    from rich.table import Table

    from contracts.money import UNITS_PER_CREDIT, in_credits

    table = Table(title=f"Price list {found.version}", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("Model", "Size", "Quality", "Per"):
        table.add_column(name, overflow="fold")
    for name in ("Credits", "Provider $", *(["Margin $"] if credit is not None else [])):
        table.add_column(name, justify="right")
    for model in sorted(found.prices):
        for price in found.of(model):
            micros = price.provider_cost_micros
            taken = None if micros is None else Decimal(micros) / _MICROS_PER_DOLLAR
            row = [model, price.size or "", price.quality or "", price.per, f"{in_credits(price.amount):,}"]
            row.append("" if taken is None else f"{taken:.4f}")
            if credit is not None:
                row.append("" if taken is None else f"{Decimal(price.amount) / UNITS_PER_CREDIT * credit - taken:.4f}")
            table.add_row(*row)
    return table
