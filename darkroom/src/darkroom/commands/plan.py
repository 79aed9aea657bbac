"""`darkroom plan`."""

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from darkroom.commands.options import DEFAULT_DATA, MISCONFIGURED, Data, fail, text

if TYPE_CHECKING:
    from contracts.questions import (
        Plan,
        PlanSet,
    )

ANSWER_SECONDS = 5.0


def plan(
    user: Annotated[UUID, typer.Option(help="Whose plan.")],
    name: Annotated[str, typer.Option("--plan", help="As in free, basic, premium.", metavar="NAME", callback=text)],
    data: Data = DEFAULT_DATA,
) -> None:
    """Give a user a plan, and print what it gives and bounds. Gateways believe the old one for up to a minute."""
    import asyncio

    from nats.errors import Error as NatsError
    from pydantic import ValidationError

    from darkroom.stack import NoStackError, Stack

    try:
        nats_url = Stack.find(data).address("nats_url")
    except NoStackError as error:
        fail(str(error), MISCONFIGURED)
    try:
        answer = asyncio.run(_ask(nats_url, user, name))
    except (NatsError, OSError, ValidationError) as error:
        fail(f"The ledger did not answer ({type(error).__name__}). Asking again is harmless.")
    if answer.problem is not None:
        fail(f"{answer.problem} {user} still has {answer.plan.name}.")
    typer.echo(f"{user} has {answer.plan.name}: {_words(answer.plan)}.")


async def _ask(nats_url: str, user: UUID, name: str) -> "PlanSet":
    from contracts.questions import (
        LEDGER_SET_PLAN,
        PlanSet,
        SetPlan,
    )
    from darkroom.jetstream import connect

    client = await connect(nats_url, "plan")
    try:
        question = SetPlan(user_id=user, plan=name).model_dump_json().encode()
        answer = await client.request(LEDGER_SET_PLAN, question, timeout=ANSWER_SECONDS)
        return PlanSet.model_validate_json(answer.data)
    finally:
        await client.close()


def _words(plan: "Plan") -> str:
    from contracts.money import in_credits

    parts = [f"{in_credits(plan.monthly_grant):,} credits a month"]
    if plan.daily_spend_cap is not None:
        parts.append(f"at most {in_credits(plan.daily_spend_cap):,} credits a day")
    if plan.max_count is not None:
        parts.append(f"{plan.max_count} in one request")
    if plan.concurrent is not None:
        parts.append(f"{plan.concurrent} at work in each lane")
    if plan.cooldown_seconds is not None:
        parts.append(f"one every {plan.cooldown_seconds} s")
    return ", ".join(parts)
