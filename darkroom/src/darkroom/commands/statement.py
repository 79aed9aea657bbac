"""`darkroom statement`."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from darkroom.commands.options import DEFAULT_DATA, MISCONFIGURED, Data, fail

if TYPE_CHECKING:
    from contracts.statement import StatementEntry

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
        fail(str(error), MISCONFIGURED)
    try:
        asyncio.run(_show(nats_url, user, entries))
    except (NatsError, OSError, ValidationError) as error:
        fail(f"The ledger did not answer ({type(error).__name__}).")


async def _show(nats_url: str, user: UUID, most: int) -> None:
    from contracts.money import (
        Balance,
        in_credits,
    )
    from contracts.questions import (
        LEDGER_BALANCE,
        BalanceOf,
    )
    from darkroom.jetstream import connect

    client = await connect(nats_url, "statement")
    try:
        question = BalanceOf(user_id=user).model_dump_json().encode()
        answer = await client.request(LEDGER_BALANCE, question, timeout=ANSWER_SECONDS)
        balance = Balance.model_validate_json(answer.data)
        async for entry in _entries(client, user, most):
            typer.echo(_words(entry))
    finally:
        await client.close()
    owed = f", {in_credits(balance.debt):,} owed" if balance.debt else ""
    typer.echo(
        f"{in_credits(balance.available):,} credits available, {in_credits(balance.held):,} held, "
        f"{in_credits(balance.used):,} used{owed}."
    )


async def _entries(client: Any, user: UUID, most: int) -> "AsyncIterator[StatementEntry]":
    from contracts.questions import LEDGER_STATEMENT
    from contracts.statement import MAX_STATEMENT_ENTRIES, Statement, StatementOf

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


def _words(entry: "StatementEntry") -> str:
    """Two lines, which no terminal is too narrow for: when and what, then the amounts and why."""
    from contracts.money import in_credits

    what = str(entry.generation_id or entry.entry.replace("_", " "))
    amounts = [
        f"{name} {in_credits(units):,}"
        for name in ("quote", "captured", "released", "refunded", "granted")
        if (units := getattr(entry, name))
    ]
    why = "".join(letter if letter.isprintable() else " " for letter in entry.why)
    # Of what was consumed, that stands with a generation which the generation took.
    nothing = "paid for a generation" if entry.entry == "consumed" else "free"
    return f"{entry.at:%Y-%m-%d %H:%M:%S} UTC  {what}\n    {', '.join(amounts) or nothing}: {why}"
