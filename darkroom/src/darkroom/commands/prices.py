"""`darkroom prices` and `darkroom prices set`."""

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkroom.commands.options import DEFAULT_DATA, MISCONFIGURED, Data, fail, text

if TYPE_CHECKING:
    from contracts.money import PriceList
    from contracts.questions import (
        PricesSet,
        SetPrices,
    )

ANSWER_SECONDS = 5.0
_MICROS_PER_DOLLAR = 1_000_000

app = typer.Typer(invoke_without_command=True)


@app.callback()
def prices(
    context: typer.Context,
    credit_dollars: Annotated[
        str | None, typer.Option("--credit", help="What you sell a credit for, in US dollars: shows the margin.")
    ] = None,
    data: Data = DEFAULT_DATA,
) -> None:
    """Print what things cost: our price, and beside it what the provider takes for the same."""
    if context.invoked_subcommand is not None:
        # Said before the subcommand it is meant for it, too.
        context.default_map = {context.invoked_subcommand: {"data": data}}
        return
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
        fail(str(error), MISCONFIGURED)
    try:
        found = asyncio.run(_ask(nats_url))
    except (NatsError, OSError, ValidationError) as error:
        fail(f"The ledger did not answer ({type(error).__name__}).")
    Console().print(_table(found, credit))


@app.command("set")
def set_prices(
    model: Annotated[str | None, typer.Argument(help="Whose price; or give a file.", callback=text)] = None,
    credits_asked: Annotated[str | None, typer.Option("--credits", help="To four decimals.", metavar="NUMBER")] = None,
    per: Annotated[str, typer.Option(help="output, second, thousand_characters or million_tokens.")] = "output",
    input_credits: Annotated[
        str | None, typer.Option(help="For a million tokens that are read.", metavar="NUMBER")
    ] = None,
    size: Annotated[str | None, typer.Option(help="Only for this size, as in 1024x1024.", callback=text)] = None,
    quality: Annotated[str | None, typer.Option(help="Only for this quality.", callback=text)] = None,
    provider_dollars: Annotated[
        str | None, typer.Option(help="What the provider takes for the same.", metavar="NUMBER")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="Prices as JSON or CSV with these names as columns; - reads them from standard input."),
    ] = None,
    remove: Annotated[list[str] | None, typer.Option(help="A model that is no longer for sale.")] = None,
    free: Annotated[bool, typer.Option("--free", help="A price of 0 is meant.")] = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """Write a new version of the price list: the newest with these prices in it. Older quotes keep theirs."""
    import asyncio

    from nats.errors import Error as NatsError
    from pydantic import ValidationError

    from contracts.questions import (
        SetPrices,
    )
    from darkroom.price_files import price_of, read_prices
    from darkroom.stack import NoStackError, Stack

    asked = {
        "model": model,
        "credits": credits_asked,
        "per": per,
        "input_credits": input_credits,
        "size": size,
        "quality": quality,
        "provider_dollars": provider_dollars,
    }
    try:
        listed = [*(read_prices(file) if file else []), *([price_of(asked)] if model is not None else [])]
        if not listed and not remove:
            raise ValueError("Say which price to set: a model with --credits, a --file, or what to --remove.")
        question = SetPrices(prices=tuple(listed), remove=tuple(remove or ()), free=free)
        nats_url = Stack.find(data).address("nats_url")
    except NoStackError as error:
        fail(str(error), MISCONFIGURED)
    except (ValueError, OSError) as error:
        fail(str(error))
    try:
        answer = asyncio.run(_set(nats_url, question))
    except (NatsError, OSError, ValidationError) as error:
        fail(f"The ledger did not answer ({type(error).__name__}). Asking again is harmless.")
    if answer.problem is not None:
        fail(f"{answer.problem} The prices are still those of version {answer.version}.")
    typer.echo(f"The prices are those of version {answer.version}.")
    try:
        strange = asyncio.run(_strange(nats_url, {price.model for price in listed}))
    except (NatsError, OSError, ValidationError):
        return  # They are set, whether the generator answers or not.
    if strange:
        typer.echo(f"No model has this name: {', '.join(strange)}. `darkroom models` lists them.", err=True)


async def _set(nats_url: str, question: "SetPrices") -> "PricesSet":
    from contracts.questions import (
        LEDGER_SET_PRICES,
        PricesSet,
    )
    from darkroom.jetstream import connect

    client = await connect(nats_url, "prices")
    try:
        answer = await client.request(LEDGER_SET_PRICES, question.model_dump_json().encode(), timeout=ANSWER_SECONDS)
        return PricesSet.model_validate_json(answer.data)
    finally:
        await client.close()


async def _strange(nats_url: str, names: set[str]) -> list[str]:
    """Which of these the generator knows no model of."""
    from contracts.questions import GENERATOR_MODELS, Models, Nothing
    from darkroom.jetstream import connect

    client = await connect(nats_url, "prices")
    try:
        question = Nothing().model_dump_json().encode()
        answer = await client.request(GENERATOR_MODELS, question, timeout=ANSWER_SECONDS)
        return sorted(names - {each.model.id for each in Models.model_validate_json(answer.data).models})
    finally:
        await client.close()


async def _ask(nats_url: str) -> "PriceList":
    from contracts.money import PriceList
    from contracts.questions import (
        LEDGER_PRICES,
        Nothing,
    )
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
    from rich.markup import escape
    from rich.table import Table

    from contracts.money import UNITS_PER_CREDIT, in_credits

    table = Table(title=f"Price list {found.version}", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("Model", "Size", "Quality", "Per"):
        table.add_column(name, overflow="fold")
    for name in ("Credits", "to read", "Provider $", *(["Margin $"] if credit is not None else [])):
        table.add_column(name, justify="right")
    for model in sorted(found.prices):
        for price in found.of(model):
            micros = price.provider_cost_micros
            taken = None if micros is None else Decimal(micros) / _MICROS_PER_DOLLAR
            row = [model, price.size or "", price.quality or "", price.per.replace("_", " ")]
            row.append(f"{in_credits(price.amount):,}")
            row.append(f"{in_credits(price.input_amount):,}" if price.per == "million_tokens" else "")
            row.append("" if taken is None else f"{taken:.4f}")
            if credit is not None:
                row.append("" if taken is None else f"{Decimal(price.amount) / UNITS_PER_CREDIT * credit - taken:.4f}")
            table.add_row(*map(escape, row))
    return table
