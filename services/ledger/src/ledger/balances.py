"""Answers about a user's money that know what the log knows: outcomes that have arrived are settled first."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import structlog
from faststream.nats import NatsBroker
from pydantic import ValidationError

from contracts.facts import Outcome
from contracts.money import (
    Balance,
)
from contracts.questions import (
    Affordability,
    Affordable,
    ConsumeCredits,
    Consumption,
    CreditsGranted,
    GrantCredits,
)
from contracts.topology import OUTCOMES, outcome_subject
from ledger.announcements import announce
from ledger.operations import GrantedOtherwiseError, Ledger, Standing
from runtime.broker import last_on

AFFORDABLE_PATIENCE_SECONDS = 0.12
"""The asker goes on after 0.25 s of silence."""
BALANCE_PATIENCE_SECONDS = 0.5

log = structlog.get_logger()


class Balances:
    """What users have. A balance counts every generation whose outcome is in the log (design.md §3.9)."""

    def __init__(self, ledger: Ledger, broker: NatsBroker) -> None:
        self._ledger = ledger
        self._broker = broker

    async def of(self, user_id: UUID) -> Balance:
        """What a user has after their debt. A stranger's account is opened: frontends read accounts as a table, past
        every question, and whoever has looked at their credits is to find them there."""
        balance, held = await self._ledger.balance(user_id)
        if balance.last_updated is None:
            await self._ledger.meet(user_id)
            balance, held = await self._ledger.balance(user_id)
        if await self._settle_arrived(held, BALANCE_PATIENCE_SECONDS):
            balance, _ = await self._ledger.balance(user_id)
        return balance.after_debt()

    async def affordable(self, question: Affordable) -> Affordability:
        """The log is asked only where the answer would be no."""
        standing = await self._ledger.standing(question.user_id)
        answer = _affordability(question, standing)
        if not answer.affordable and await self._settle_arrived(standing.open, AFFORDABLE_PATIENCE_SECONDS):
            answer = _affordability(question, await self._ledger.standing(question.user_id))
        return answer

    async def grant(self, asked: GrantCredits) -> CreditsGranted:
        """Gives credits and says so, however often it is asked. Raises ValueError as `Ledger.grant`."""
        problem = None
        try:
            await announce(self._broker, [await self._ledger.grant(asked)])
        except GrantedOtherwiseError as otherwise:
            problem = str(otherwise)
        return CreditsGranted(**dict(await self.of(asked.user_id)), problem=problem)

    async def consume(self, asked: ConsumeCredits) -> Consumption:
        """The log is asked only where the answer would be no."""
        answer = await self._ledger.consume(asked)
        if answer.state == "insufficient_credits":
            _, held = await self._ledger.balance(asked.user_id)
            if await self._settle_arrived(held, BALANCE_PATIENCE_SECONDS):
                answer = await self._ledger.consume(asked)
        return answer

    async def _settle_arrived(self, generation_ids: Sequence[UUID], patience_seconds: float) -> bool:
        """Settles those generations whose outcome the log tells in time; whether there were any."""
        if not generation_ids:
            return False
        looking = [asyncio.create_task(self._arrived(generation_id)) for generation_id in generation_ids]
        done, late = await asyncio.wait(looking, timeout=patience_seconds)
        for task in late:
            task.cancel()
        outcomes = [outcome for task in done if (outcome := task.result()) is not None]
        if outcomes:
            await self._ledger.settle(outcomes)
        return bool(outcomes)

    async def _arrived(self, generation_id: UUID) -> Outcome | None:
        kept = await last_on(self._broker, outcome_subject(generation_id), stream=OUTCOMES.name)
        if kept is None:
            return None
        try:
            return Outcome.decode(kept)
        except ValidationError:
            log.warning("outcome.unreadable", generation_id=str(generation_id))
            return None


def _affordability(question: Affordable, standing: Standing) -> Affordability:
    balance = standing.balance
    available = max(0, balance.available - balance.debt) + (standing.consumed if question.prepaid else 0)
    today = standing.left_today
    return Affordability(
        affordable=question.amount <= available and (today is None or question.amount <= today),
        available=available,
        left_today=today,
        plan=standing.plan,
    )
