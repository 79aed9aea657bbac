"""Whether a user can afford a quote: the ledger is asked, unless it said a moment ago that there is plenty."""

import time
from collections import OrderedDict
from dataclasses import dataclass
from uuid import UUID

from faststream.nats import NatsBroker
from nats.errors import Error as NatsError
from pydantic import ValidationError

from contracts.money import in_credits
from contracts.questions import LEDGER_AFFORDABLE, Affordability, Affordable
from gateway.refusals import InsufficientCredits
from runtime.broker import connected

ANSWER_TIMEOUT_SECONDS = 0.25
PLENTY_SECONDS = 5.0
"""How long an answer is believed, and only about half of what it named: who asked at the same time heard the same."""
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

    async def check(self, user_id: UUID, amount: int) -> None:
        """Silence means: go on.

        Raises:
            InsufficientCredits: with what is required and available, in credits.
        """
        if self._has_plenty(user_id, amount) or not connected(self._broker):
            return
        answer = await self._ask(Affordable(user_id=user_id, amount=amount))
        if answer is None:
            return
        if not answer.affordable:
            required, available = in_credits(amount), in_credits(answer.available)
            raise InsufficientCredits(
                f"This costs {required} credits and {available} are available.",
                details={"required": required, "available": available},
            )
        heard = self._fresh(user_id) or _Heard(time.monotonic(), answer.available)
        heard.available = min(heard.available, answer.available)
        heard.accepted += amount
        self._heard[user_id] = heard
        if len(self._heard) > MAX_USERS_KNOWN:
            self._heard.popitem(last=False)

    def _has_plenty(self, user_id: UUID, amount: int) -> bool:
        heard = self._fresh(user_id)
        if heard is None or heard.accepted + amount > heard.available // 2:
            return False
        heard.accepted += amount
        return True

    def _fresh(self, user_id: UUID) -> _Heard | None:
        heard = self._heard.get(user_id)
        return heard if heard is not None and time.monotonic() - heard.since < PLENTY_SECONDS else None

    async def _ask(self, question: Affordable) -> Affordability | None:
        try:
            answer = await self._broker.connection.request(
                LEDGER_AFFORDABLE, question.model_dump_json().encode(), timeout=ANSWER_TIMEOUT_SECONDS
            )
            return Affordability.model_validate_json(answer.data)
        except (NatsError, TimeoutError, OSError, ValidationError):
            return None
