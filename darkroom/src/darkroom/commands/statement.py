"""`darkroom statement`."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from darkroom.commands.options import DEFAULT_DATA, Data, fail

if TYPE_CHECKING:
    from contracts.questions import StatementEntry

ANSWER_SECONDS = 5.0


def statement(
    user: Annotated[UUID, typer.Option(help="Whose credits.")],
    entries: Annotated[int, typer.Option(min=1, help="How many at most, the newest.")] = 100,
    data: Data = DEFAULT_DATA,
) -> None:
    """Print where a user's credits came from and where they went."""
    import asyncio

    from nats.errors import Error as NatsError
    from pydantic import ValidationError

    from darkroom.stack import NoStackError, Stack

    try:
        nats_url = Stack.find(data).address("nats_url")
    except NoStackError as error:
        fail(str(error))
    try:
        asyncio.run(_show(nats_url, user, entries))
    except (NatsError, OSError, ValidationError) as error:
        fail(f"The ledger did not answer ({type(error).__name__}).")


async def _show(nats_url: str, user: UUID, most: int) -> None:
    from rich.console import Console

    from contracts.money import in_credits
    from contracts.questions import LEDGER_BALANCE, Balance, BalanceOf
    from darkroom.jetstream import connect

    client = await connect(nats_url, "statement")
    try:
        question = BalanceOf(user_id=user).model_dump_json().encode()
        answer = await client.request(LEDGER_BALANCE, question, timeout=ANSWER_SECONDS)
        balance = Balance.model_validate_json(answer.data)
        table = _table([entry async for entry in _entries(client, user, most)])
    finally:
        await client.close()
    console = Console()
    if table.row_count:
        console.print(table)
    console.print(
        f"{in_credits(balance.available):,} credits available, {in_credits(balance.held):,} held, "
        f"{in_credits(balance.used):,} used."
    )


async def _entries(client: Any, user: UUID, most: int) -> "AsyncIterator[StatementEntry]":
    from contracts.questions import LEDGER_STATEMENT, MAX_STATEMENT_ENTRIES, Statement, StatementOf

    cursor = None
    while most > 0:
        question = StatementOf(user_id=user, limit=min(most, MAX_STATEMENT_ENTRIES), cursor=cursor)
        answer = await client.request(LEDGER_STATEMENT, question.model_dump_json().encode(), timeout=ANSWER_SECONDS)
        page = Statement.model_validate_json(answer.data)
        for entry in page.entries:
            yield entry
        most -= len(page.entries)
        cursor = page.cursor
        if cursor is None:
            return


def _table(entries: "list[StatementEntry]") -> Any:
    from rich import box
    from rich.markup import escape
    from rich.table import Column, Table

    from contracts.money import in_credits

    amounts = ("quote", "captured", "released", "refunded", "granted")
    columns = [Column(name.capitalize(), justify="right") for name in amounts]
    table = Table(
        "When (UTC)", Column("What", overflow="fold"), *columns, Column("Why", overflow="fold"), box=box.SIMPLE_HEAD
    )
    for entry in entries:
        units = (getattr(entry, name) for name in amounts)
        table.add_row(
            f"{entry.at:%Y-%m-%d %H:%M:%S}",
            str(entry.generation_id or entry.entry.replace("_", " ")),
            *(f"{in_credits(amount):,}" if amount else "" for amount in units),
            escape(entry.why),
        )
    return table
