"""`darkroom grant`."""

from typing import Annotated
from uuid import UUID, uuid4

import typer

from darkroom.commands.options import DEFAULT_DATA, MISCONFIGURED, Data, fail, text

ANSWER_SECONDS = 5.0


def grant(
    user: Annotated[UUID, typer.Option(help="Who gets them.")],
    credits_given: Annotated[str, typer.Option("--credits", help="How many, to four decimals.", metavar="NUMBER")],
    reason: Annotated[str, typer.Option(help="Written into the ledger.", callback=text)] = "granted",
    grant_id: Annotated[
        UUID | None, typer.Option(help="Names this grant: given once, however often it is asked for.")
    ] = None,
    data: Data = DEFAULT_DATA,
) -> None:
    """Give credits to a user and print the new balance."""
    import asyncio

    from nats.errors import Error as NatsError
    from pydantic import ValidationError

    from contracts.money import in_credits, to_units
    from darkroom.stack import NoStackError, Stack

    try:
        amount = to_units(credits_given)
        if amount <= 0:
            raise ValueError(f"not more than nothing: {credits_given}")
        nats_url = Stack.find(data).address("nats_url")
    except NoStackError as error:
        fail(str(error), MISCONFIGURED)
    except ValueError as error:
        fail(str(error))
    grant_id = grant_id or uuid4()
    try:
        answer = asyncio.run(_ask(nats_url, grant_id, user, amount, reason))
    except (NatsError, OSError, ValidationError) as error:
        fail(
            f"The ledger did not answer ({type(error).__name__}), so nobody knows whether the credits were given. "
            f"Ask again with --grant-id {grant_id}: they are given once."
        )
    has = (
        f"{user} has {in_credits(answer.available):,} credits available, "
        f"{in_credits(answer.held):,} held, {in_credits(answer.used):,} used."
    )
    if answer.problem is not None:
        fail(f"{answer.problem} Nothing was given now. {has}")
    typer.echo(has)


async def _ask(nats_url: str, grant_id: UUID, user: UUID, amount: int, reason: str):  # type: ignore[no-untyped-def]
    from contracts.questions import LEDGER_GRANT, CreditsGranted, GrantCredits
    from darkroom.jetstream import connect

    client = await connect(nats_url, "grant")
    try:
        question = GrantCredits(grant_id=grant_id, user_id=user, amount=amount, reason=reason)
        answer = await client.request(LEDGER_GRANT, question.model_dump_json().encode(), timeout=ANSWER_SECONDS)
        return CreditsGranted.model_validate_json(answer.data)
    finally:
        await client.close()
