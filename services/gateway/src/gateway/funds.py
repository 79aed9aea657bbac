"""What a user can pay and a plan allows: the ledger is asked, unless it said a moment ago that there is plenty."""

import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import NoneType
from uuid import UUID

from faststream.nats import NatsBroker
from nats.errors import NoRespondersError

from contracts.money import in_credits
from contracts.questions import (
    LEDGER_AFFORDABLE,
    LEDGER_CONSUME,
    Affordability,
    Affordable,
    ConsumeCredits,
    Consumption,
    Plan,
)
from gateway.questions import ask_ledger
from gateway.refusals import DailyCapReached, IdempotencyMismatch, InsufficientCredits, NotHeard, Unavailable
from runtime.broker import connected

ANSWER_TIMEOUT_SECONDS = 0.25
CONSUME_TIMEOUT_SECONDS = 2.0
CONSUME_ATTEMPTS = 2
PLENTY_SECONDS = 60.0
"""How long an answer is believed, and only about half of what it named: who asked at the same time heard the same."""
HOLDING_SECONDS = 5.0
"""What was accepted on an older answer has its hold by now: the next answer counts it, and stands alone."""
PLAN_SECONDS = 60.0
"""How long a plan is believed; SILENT_SECONDS where the ledger did not say."""
SILENT_SECONDS = 5.0
MAX_USERS_KNOWN = 100_000


@dataclass(slots=True)
class _Heard:
    """The least that a user had since `since`, and all that this process accepted meanwhile."""

    since: float
    available: int
    accepted: int = 0


class Funds:
    """A courtesy to whoever cannot pay: the hold decides (docs/adr/0013)."""

    def __init__(self, broker: NatsBroker) -> None:
        self._broker = broker
        self._heard: OrderedDict[UUID, _Heard] = OrderedDict()
        self._plans: OrderedDict[UUID, tuple[float, Plan]] = OrderedDict()
        """Until when a plan is believed."""

    async def check(self, user_id: UUID, amount: int, *, prepaid: bool = False, is_own: bool = True) -> None:
        """Silence means: go on. Where the account is not the asker's own, a refusal does not say what is in it.

        Raises:
            InsufficientCredits: with what is required and available, in credits.
            DailyCapReached: the plan leaves less today.
        """
        if not connected(self._broker) or (not prepaid and self._has_plenty(user_id, amount)):
            return
        answer = await self._ask(Affordable(user_id=user_id, amount=amount, prepaid=prepaid))
        if answer is None:
            return
        if not answer.affordable:
            raise _refusal(amount, answer) if is_own else _operators_refusal(amount, answer)
        if prepaid:
            return  # what it heard holds for no other request
        most = answer.available if answer.left_today is None else min(answer.available, answer.left_today)
        heard = self._fresh(user_id, HOLDING_SECONDS) or _Heard(time.monotonic(), most)
        heard.available = min(heard.available, most)
        heard.accepted += amount
        self._heard[user_id] = heard
        if len(self._heard) > MAX_USERS_KNOWN:
            self._heard.popitem(last=False)

    async def plan(self, user_id: UUID) -> Plan:
        """What bounds this user, as last heard; nothing does where nothing was."""
        until, plan = self._plans.get(user_id, (0.0, Plan()))
        if time.monotonic() < until or not connected(self._broker):
            return plan
        answer = await self._ask(Affordable(user_id=user_id, amount=0))
        return plan if answer is None else answer.plan

    async def consume(self, asked: ConsumeCredits) -> Consumption:
        """Takes credits without a generation.

        Raises:
            InsufficientCredits: nothing was taken.
            IdempotencyMismatch: the id was used for another amount.
            Unavailable: the ledger cannot be asked.
            NotHeard: it was asked, and did not answer; under the same id it is taken once.
        """
        is_asked = False
        for _ in range(CONSUME_ATTEMPTS):
            try:
                answer = await ask_ledger(self._broker, LEDGER_CONSUME, asked, Consumption, CONSUME_TIMEOUT_SECONDS)
            except Unavailable as silence:
                is_asked = is_asked or not isinstance(silence.__cause__, NoRespondersError | NoneType)
                continue
            self._heard.pop(asked.user_id, None)
            if answer.state == "mismatch":
                raise IdempotencyMismatch("This Idempotency-Key was used for another request.")
            if answer.state == "insufficient_credits":
                raise _insufficient(answer.required, answer.available)
            return answer
        if is_asked:
            raise NotHeard("The ledger does not answer right now. Under the same Idempotency-Key it is taken once.")
        raise Unavailable("The ledger cannot be asked right now. Nothing was taken.")

    def _has_plenty(self, user_id: UUID, amount: int) -> bool:
        heard = self._fresh(user_id, PLENTY_SECONDS)
        if heard is None or heard.accepted + amount > heard.available // 2:
            return False
        heard.accepted += amount
        return True

    def _fresh(self, user_id: UUID, seconds: float) -> _Heard | None:
        heard = self._heard.get(user_id)
        return heard if heard is not None and time.monotonic() - heard.since < seconds else None

    async def _ask(self, question: Affordable) -> Affordability | None:
        answer: Affordability | None
        try:
            answer = await ask_ledger(self._broker, LEDGER_AFFORDABLE, question, Affordability, ANSWER_TIMEOUT_SECONDS)
        except Unavailable:
            answer = None
        _, known = self._plans.pop(question.user_id, (0.0, Plan()))
        believed = time.monotonic() + (SILENT_SECONDS if answer is None else PLAN_SECONDS)
        self._plans[question.user_id] = (believed, known if answer is None else answer.plan)
        if len(self._plans) > MAX_USERS_KNOWN:
            self._plans.popitem(last=False)
        return answer


def _refusal(amount: int, answer: Affordability) -> InsufficientCredits | DailyCapReached:
    if amount > answer.available or answer.left_today is None:
        return _insufficient(amount, answer.available)
    required, left = in_credits(amount), in_credits(answer.left_today)
    return DailyCapReached(
        f"This costs {required} credits and your plan leaves {left} today.",
        _seconds_until_midnight(),
        {"required": required, "left_today": left},
    )


def _operators_refusal(amount: int, answer: Affordability) -> InsufficientCredits | DailyCapReached:
    required: dict[str, object] = {"required": in_credits(amount)}
    if amount > answer.available or answer.left_today is None:
        return InsufficientCredits("The account that pays for this has not enough credits.", details=required)
    message = "The account that pays for this has reached its limit of the day."
    return DailyCapReached(message, _seconds_until_midnight(), required)


def _seconds_until_midnight() -> int:
    now = datetime.now(UTC)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((midnight - now).total_seconds()) + 1


def _insufficient(amount: int, units_available: int) -> InsufficientCredits:
    required, available = in_credits(amount), in_credits(units_available)
    return InsufficientCredits(
        f"This costs {required} credits and {available} are available.",
        details={"required": required, "available": available},
    )
